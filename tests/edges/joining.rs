//! The edge of joining and leaving.

use super::*;

#[test]
fn joining_and_leaving_mean_the_same_near_and_far() {
    run(async {
        let tree = tree();
        let (register, registered, _met) = scripted::<Register>(&tree, 64);
        let (deregister, deregistered, mut left) = scripted::<Deregister>(&tree, 64);
        let port = RegisterPort {
            register: register.actor_ref(),
            deregister: deregister.actor_ref(),
            heartbeat: unused(&tree),
            foreign_beat: unused(&tree),
            networks: Networks::default(),
            keys: keys(),
        };
        let url = serve(&tree, |services| Services { register: Some(Arc::new(port)), ..services });
        let edge = Arc::new(RegisterEdge::new(client(), &url).unwrap());
        let far = supervise(&tree.root(), Spec::new("proxy", move || Proxy::create(edge.clone())));
        let joining = Both {
            node: register.node().clone(),
            near: register.actor_ref(),
            far: far.actor_ref(),
            script: registered,
            met: mpsc::unbounded_channel().1,
        };
        let declaration = Declaration {
            agent: AgentId::trusted(AGENT),
            incarnation: Incarnation::trusted("i-1"),
            capabilities: vec![Capability::trusted("analyze")],
            slots: 4,
            profile: "analyst".into(),
            description: None,
            url: Some("http://127.0.0.1:5000".into()),
            foreign: false,
            reads_stages: true,
        };
        let answers: [fn() -> Result<(), RegistryError>; 3] = [
            || Ok(()),
            || Err(RegistryError::Replaced("a newer life has its name".into())),
            || Err(RegistryError::Refused("not here".into())),
        ];
        for answer in answers {
            let asked = joining.asked(|| Register(declaration.clone()), || Does::Answers(answer()), PATIENCE).await;
            same(asked, Ok::<_, CallError>(answer()));
        }
        let leaving = Both {
            node: deregister.node().clone(),
            near: deregister.actor_ref(),
            far: far.actor_ref(),
            script: deregistered,
            met: mpsc::unbounded_channel().1,
        };
        for incarnation in [None, Some(Incarnation::trusted("life 7, 第七"))] {
            let farewell = Deregister { agent: AgentId::trusted(AGENT), incarnation };
            same(
                leaving.asked(|| farewell.clone(), || Does::Answers(Ok(())), PATIENCE).await,
                Ok::<_, CallError>(Ok::<_, RegistryError>(())),
            );
            for _way in ["near", "far"] {
                assert_eq!(left.recv().await, Some(Met::Took(farewell.clone())));
            }
        }
        tree.root().stopped().await;
    })
    .unwrap();
}
