//! Agents, shared context and traces.

use crate::subject::{Subject, agent, capability, incarnation, key, key_of};
use callboard::messages::{AgentRecord, Declaration};
use callboard::store::Clock;
use callboard::task::{At, Capability, Json, Tenant};

pub fn record(name: &str, capabilities: &[&str], url: Option<&str>, now: At) -> AgentRecord {
    let declaration = Declaration {
        agent: agent(name),
        incarnation: incarnation("i1"),
        capabilities: capabilities.iter().map(|name| capability(name)).collect(),
        slots: 4,
        profile: "generic".into(),
        description: None,
        url: url.map(Into::into),
        foreign: false,
        reads_stages: false,
    };
    AgentRecord { declaration, last_heartbeat: now, load: 0.25, active: 1, replaced: Vec::new() }
}

pub async fn agents_live_as_long_as_they_beat(Subject { store, clock, .. }: Subject) {
    let start = clock.now();
    let (ann, bob) =
        (record("ann", &["analyze"], None, start), record("bob", &["analyze", "paint"], Some("http://b"), start));
    store.put_agent(bob.clone(), 10_000).await.unwrap();
    store.put_agent(ann.clone(), 5_000).await.unwrap();
    assert_eq!(store.agents().await, Ok(vec![ann.clone(), bob.clone()]));
    clock.advance(5_000);
    assert_eq!(store.agents().await, Ok(vec![bob.clone()]));
    store.put_agent(ann.clone(), 5_000).await.unwrap();
    assert_eq!(store.agents().await, Ok(vec![ann.clone(), bob]));
    store.remove_agent(&agent("bob")).await.unwrap();
    store.remove_agent(&agent("nobody")).await.unwrap();
    assert_eq!(store.agents().await, Ok(vec![ann]));
    clock.advance(60_000);
    assert_eq!(store.agents().await, Ok(vec![]));
    let seen: Vec<(Capability, At)> = vec![(capability("analyze"), start.plus(5_000)), (capability("paint"), start)];
    assert_eq!(store.capabilities_seen().await, Ok(seen));
}

pub async fn a_new_record_replaces_the_old(Subject { store, clock, .. }: Subject) {
    store.put_agent(record("ann", &["analyze"], Some("http://a"), clock.now()), 5_000).await.unwrap();
    let new = record("ann", &["paint"], None, clock.now());
    store.put_agent(new.clone(), 5_000).await.unwrap();
    assert_eq!(store.agents().await, Ok(vec![new]));
}

pub async fn other_agents_are_told_of(Subject { store, clock, .. }: Subject) {
    let mut changed = store.agents_changed();
    let ann = record("ann", &["analyze"], Some("http://a"), clock.now());
    store.put_agent(ann.clone(), 5_000).await.unwrap();
    changed.changed().await.unwrap();
    // A beat is no news, and an agent that is not there does not go: the next word is of the last change.
    let mut changed = store.agents_changed();
    store
        .put_agent(AgentRecord { last_heartbeat: clock.now().plus(1), load: 0.75, ..ann.clone() }, 5_000)
        .await
        .unwrap();
    store.remove_agent(&agent("nobody")).await.unwrap();
    assert!(!changed.has_changed().unwrap());
    let mut other = ann.clone();
    other.declaration.capabilities.push(capability("paint"));
    store.put_agent(other.clone(), 5_000).await.unwrap();
    changed.changed().await.unwrap();
    // Silent until its record ran out, and back.
    clock.advance(5_000);
    store.put_agent(other, 5_000).await.unwrap();
    changed.changed().await.unwrap();
    store.remove_agent(&agent("ann")).await.unwrap();
    changed.changed().await.unwrap();
}

pub async fn context_is_per_tenant(Subject { store, .. }: Subject) {
    let (one, two) = (Tenant::trusted("one"), Tenant::trusted("two"));
    let value = |text: &str| Json::from_text(text.into()).unwrap();
    store.set_context(&one, "b", Some(value("1"))).await.unwrap();
    store.set_context(&one, "a", Some(value("[2, 3]"))).await.unwrap();
    store.set_context(&one, "b", Some(value("{\"x\":null}"))).await.unwrap();
    let fields = vec![("a".into(), value("[2, 3]")), ("b".into(), value("{\"x\":null}"))];
    assert_eq!(store.context(&one).await, Ok(fields.clone()));
    assert_eq!(store.context(&two).await, Ok(vec![]));
    store.set_context(&one, "b", None).await.unwrap();
    store.set_context(&two, "a", None).await.unwrap();
    assert_eq!(store.context(&one).await, Ok(fields[..1].to_vec()));
}

pub async fn traces_keep_their_order(Subject { store, .. }: Subject) {
    let step = |n: u32| Json::of(&n).unwrap();
    let ann = agent("ann");
    store.append_trace(&key("t1"), &ann, vec![step(1), step(2)]).await.unwrap();
    store.append_trace(&key("t1"), &agent("bob"), vec![step(9)]).await.unwrap();
    store.append_trace(&key("t1"), &ann, vec![step(3)]).await.unwrap();
    assert_eq!(store.trace(&key("t1"), &ann).await, Ok(vec![step(1), step(2), step(3)]));
    assert_eq!(store.trace(&key("t2"), &ann).await, Ok(vec![]));
    assert_eq!(store.trace(&key_of("two", "t1"), &ann).await, Ok(vec![]));
}
