//! Two lives of one name: whose it is, and who may take it away.

use super::*;
use crate::messages::Deregister;

/// An office that knows somebody else, too: a store without any agent is taken for one that has lost its memory.
async fn in_company() -> Office {
    let office = Office::open(Presence::Listens);
    let mut neighbour = finalizer(&*office.store);
    neighbour.declaration.agent = AgentId::trusted("neighbour");
    office.store.put_agent(neighbour, 60 * TTL_MS).await.unwrap();
    office
}

/// A life of the finalizer.
fn life(office: &Office, name: &'static str) -> Declaration {
    Declaration { incarnation: Incarnation::trusted(name), ..finalizer(&*office.store).declaration }
}

/// Whose the name is, as the masters are told and as the store has it.
async fn lives(office: &Office) -> [Option<Incarnation>; 2] {
    // It has read the store, and its words have been written.
    office.pass(2).await;
    let agent = AgentId::trusted("finalizer");
    let told = office.roster.borrow().get(&agent).map(|entry| entry.incarnation.clone());
    let mut recorded = office.store.agents().await.unwrap().into_iter().map(|record| record.declaration);
    [told, recorded.find(|known| known.agent == agent).map(|known| known.incarnation)]
}

fn both(name: &'static str) -> [Option<Incarnation>; 2] {
    [Some(Incarnation::trusted(name)), Some(Incarnation::trusted(name))]
}

async fn is_known(office: &Office, declaration: &Declaration) -> bool {
    let (agent, incarnation) = (declaration.agent.clone(), declaration.incarnation.clone());
    office.is_asked(Heartbeat { agent, incarnation, load: 0.0, active: Vec::new() }).await.unwrap().known
}

#[actix::test]
async fn an_earlier_life_does_not_take_its_name_back_from_one_that_lives() {
    tokio::time::pause();
    let office = in_company().await;
    let (earlier, later) = (life(&office, "i1"), life(&office, "i2"));
    office.joins(earlier.clone()).await;
    office.joins(later.clone()).await;
    // Another master hears of it, and so does one that was started anew; the earlier life comes to each.
    let elsewhere = office.another();
    elsewhere.pass(2).await;
    for master in [&office, &elsewhere] {
        assert!(!is_known(master, &earlier).await);
        let refusal = master.is_asked(Register(earlier.clone())).await;
        assert!(matches!(refusal, Err(RegistryError::Replaced(_))), "{refusal:?}");
        assert!(is_known(master, &later).await);
        assert_eq!(lives(master).await, both("i2"));
    }
    // Word of it from a master that knows no better is believed by nobody.
    office.pass(3).await;
    let stale =
        AgentRecord { declaration: earlier.clone(), last_heartbeat: office.store.now(), ..finalizer(&*office.store) };
    office.store.put_agent(stale, TTL_MS).await.unwrap();
    assert_eq!(lives(&office).await[0], both("i2")[0]);
    assert!(!is_known(&office, &earlier).await);
    assert!(is_known(&office, &later).await);
    assert_eq!(lives(&office).await, both("i2"));
    // With nobody to take it from, the name is free.
    office.is_asked(Deregister { agent: later.agent, incarnation: Some(later.incarnation) }).await.unwrap();
    for master in [&office, &elsewhere] {
        assert_eq!(lives(master).await, [None, None]);
    }
    elsewhere.joins(earlier).await;
    for master in [&office, &elsewhere] {
        assert_eq!(lives(master).await, both("i1"));
    }
}

#[actix::test]
async fn a_life_that_reads_work_in_another_form_is_reached_anew_at_the_same_place() {
    tokio::time::pause();
    let office = in_company().await;
    let ours = life(&office, "i1");
    let another = Declaration { foreign: true, reads_stages: false, ..life(&office, "i2") };
    office.joins(ours.clone()).await;
    office.pass(2).await;
    let way = || office.parts.directory.find(&ours.agent).unwrap();
    let before = way();
    // The same once more, with other duties, is reached as it was.
    office.joins(Declaration { slots: 7, ..ours.clone() }).await;
    assert!(Arc::ptr_eq(&before, &way()));
    office.joins(another).await;
    assert!(!Arc::ptr_eq(&before, &way()));
}

#[actix::test]
async fn the_farewell_of_an_earlier_life_takes_nobody_away() {
    tokio::time::pause();
    let office = in_company().await;
    let (earlier, later) = (life(&office, "i1"), life(&office, "i2"));
    office.joins(earlier.clone()).await;
    // The later one joins elsewhere, where the farewell has not been heard of yet.
    let elsewhere = office.another();
    elsewhere.pass(2).await;
    elsewhere.joins(later.clone()).await;
    let farewell = Deregister { agent: earlier.agent, incarnation: Some(earlier.incarnation) };
    for master in [&elsewhere, &office] {
        master.is_asked(farewell.clone()).await.unwrap();
        // Not even until the store is read again.
        assert!(master.roster.borrow().contains_key(&later.agent));
        assert_eq!(lives(master).await, both("i2"));
    }
    // Who names no life means whichever lives.
    office.is_asked(Deregister { agent: later.agent, incarnation: None }).await.unwrap();
    for master in [&office, &elsewhere] {
        assert_eq!(lives(master).await[1], None);
    }
}
