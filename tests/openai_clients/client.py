"""The official client of OpenAI's, against the gateway at the URL given: prints what it saw as one JSON object."""
import json
import sys

from openai import APIStatusError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
saw = {"models": [model.id for model in client.models.list()]}

messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}]
answer = client.chat.completions.create(model="openai", messages=messages, temperature=0, max_tokens=50)
saw["plain"] = [answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage.total_tokens, answer.model]

stream = client.chat.completions.create(
    model="openai/gpt-9", messages=messages, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
saw["stream"] = [
    [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content],
    [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason],
    [chunk.usage.total_tokens for chunk in chunks if chunk.usage],
]

tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
called = client.chat.completions.create(model="openai", messages=messages, tools=tools, tool_choice="required")
call = called.choices[0].message.tool_calls[0]
saw["tools"] = [call.function.name, json.loads(call.function.arguments), called.choices[0].finish_reason]
messages += [
    called.choices[0].message.model_dump(exclude_none=True),
    {"role": "tool", "tool_call_id": call.id, "content": "3"},
]
saw["tool result"] = client.chat.completions.create(model="openai", messages=messages).choices[0].message.content

schema = {"name": "sum", "schema": {"type": "object"}, "strict": True}
structured = client.chat.completions.create(
    model="openai", messages=messages[:2], response_format={"type": "json_schema", "json_schema": schema}
)
saw["structured"] = json.loads(structured.choices[0].message.content)

vectors = client.embeddings.create(model="openai", input=["a", "b"])
saw["vectors"] = [vector.embedding for vector in vectors.data]


def refused(**wanted):
    try:
        client.chat.completions.create(model="openai", messages=messages[:2], **wanted)
    except APIStatusError as error:
        return [error.status_code, error.type, error.code]
    return None


saw["refused"] = [refused(), refused(n=2)]
try:
    saw["broken"] = [
        chunk.choices[0].delta.content for chunk in client.chat.completions.create(model="openai", messages=messages[:2], stream=True)
    ]
except Exception as error:  # whatever class the client gives it, it must be told
    saw["broken"] = str(error)
print(json.dumps(saw))
