#!/usr/bin/env python3
"""An AG2 agent as a Callboard worker: AG2 runs the agent, Callboard's gateway answers for its models.

    callboard serve &
    pip install -r examples/ag2_worker/requirements.txt
    LLM_GATEWAY_URL=http://127.0.0.1:8000 AGENT_ID=ag2-critic python3 examples/ag2_worker/worker.py

Everything between the agent and the master is `python_worker.py`, whose settings hold here too. What is here is the step
(`perform`) and the bridge to the gateway (`GatewayConfig`, `GatewayClient`), which any AG2 agent can be given.
"""
import asyncio
import sys
from pathlib import Path

from ag2 import Agent
from ag2.config import LLMClient, ModelConfig
from ag2.events import DataInput, ModelMessage, ModelRequest, ModelResponse, TextInput

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import python_worker as worker  # noqa: E402

PROMPTS = {
    "evaluate": "You are a critic. Judge the draft: what it answers, what it leaves out, what it cannot support.",
    "finalize": "You are an editor. Write the final answer from the draft, as short as it can be.",
}


def perform(command, data, context):
    """Does one step by asking an AG2 agent; see `python_worker.perform`. Its threads are its own, so is the event loop."""
    return asyncio.run(ask(command, data))


async def ask(command, data):
    config = GatewayConfig()
    agent = Agent(worker.AGENT_ID, PROMPTS.get(command, f"You are a specialist in: {command}."), config=config)
    draft = (data.get("previous_output") or {}).get("text") or ""
    reply = await agent.ask(f"Question: {data.get('objective') or ''}\n\nDraft:\n{draft or 'There is none.'}")
    if not reply.body:
        raise worker.Failed("the agent said nothing")
    events = await reply.history.get_events()
    trace = [{"event": type(event).__name__, "text": line} for event in events for line in lines(event, agent.serializer)]
    return {**config.last, "text": reply.body, "ag2_trace": trace}


class GatewayConfig(ModelConfig):
    """Lets an AG2 agent think with whatever model the gateway has. Keeps the last answer, which says who gave it."""

    provider = property(lambda self: "callboard")
    model = property(lambda self: "gateway")

    def __init__(self):
        self.last = {}

    def copy(self, **_):
        return self

    def create(self):
        return GatewayClient(self)


class GatewayClient(LLMClient):
    def __init__(self, config):
        self.config = config

    async def __call__(self, messages, context, *, tools, response_schema, serializer):
        if list(tools):
            raise worker.Failed("the gateway completes text; it calls no tools", retryable=False)
        system = list(context.prompt)
        if response_schema and response_schema.system_prompt:
            system.append(response_schema.system_prompt)
        said = [line for message in messages for line in lines(message, serializer)]
        # In a thread, so that the agent's other coroutines go on.
        self.config.last = await asyncio.to_thread(worker.generate, "\n\n".join(system), "\n\n".join(said))
        message = ModelMessage(self.config.last["text"])
        await context.send(message)
        return ModelResponse(message, provider=self.config.last["provider"])


def lines(message, serializer):
    """What one event of the conversation says, in words; nothing for events that are no part of it."""
    if isinstance(message, ModelResponse) and message.content:
        yield message.content
    for part in message.parts if isinstance(message, ModelRequest) else ():
        if isinstance(part, TextInput):
            yield part.content
        elif isinstance(part, DataInput):
            yield serializer.encode(part.data).decode()
        else:
            raise worker.Failed(f"the gateway takes text, and no {type(part).__name__}", retryable=False)


if __name__ == "__main__":
    if not worker.GATEWAY_URL:
        sys.exit("LLM_GATEWAY_URL is not set: where is the gateway that answers for the agent's models?")
    worker.run(perform)
