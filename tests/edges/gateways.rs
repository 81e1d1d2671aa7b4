//! Model calls where there are several gateways.

use super::*;

/// A gateway that answers questions after calls as its script says, or hangs.
fn gateway(tree: &Tree) -> (String, Script<CallStatus>, Meetings<CallStatus>, Meetings<Generate>) {
    let (status, script, asked) = scripted::<CallStatus>(tree, 64);
    let (generate, _, called) = scripted::<Generate>(tree, 64);
    let port =
        GatewayPort { generate: generate.actor_ref(), status: status.actor_ref(), drop_call: unused::<DropCall>(tree) };
    let url = serve(tree, |services| Services { gateway: Some(Arc::new(port)), ..services });
    (url, script, asked, called)
}

/// A server that knows none of these paths, and says so in words of its own.
async fn foreign(tree: &Tree) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\
        Connection: close\r\n\r\n{\"detail\":\"Not Found\"}";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(ANSWER).await;
        }
    };
    drop(spawn_task(&tree.root(), "foreign", answers));
    url
}

#[test]
fn a_call_is_asked_after_at_every_gateway_and_unknown_only_when_all_of_them_say_so() {
    run(async {
        let tree = tree();
        let ((one, ones, ..), (other, others, ..)) = (gateway(&tree), gateway(&tree));
        let (foreign, dead) = (foreign(&tree).await, "http://127.0.0.1:9");
        let age = Some(CallAge { age_ms: 70, silent_ms: 7 });
        let ask = async |gateways: &[&str], says: [Option<CallAge>; 2]| {
            for (script, says) in [&ones, &others].into_iter().zip(says) {
                script.lock().clear();
                script.lock().push_back(Does::Answers(says));
            }
            let edge = GenerateEdge::new(client(), &gateways.join(","), PATIENCE).unwrap();
            let way = proxy::<CallStatus, _>(&tree, edge);
            way.ask(CallStatus(CallId::trusted("life:7")), CallContext::default(), PATIENCE).await
        };
        assert_eq!(ask(&[&one, &other], [None, age]).await, Ok(age));
        assert_eq!(ask(&[&one, &other], [age, None]).await, Ok(age));
        assert_eq!(ask(&[&one, &other], [None, None]).await, Ok(None));
        // One that is not there has not said so; one that does not know the question says nothing either way.
        assert_eq!(ask(&[dead, &one], [None, None]).await, Err(CallError::Unavailable));
        assert_eq!(ask(&[&foreign], [None, None]).await, Err(CallError::Rejected));
        assert_eq!(ask(&[&one, &foreign, dead], [None, None]).await, Err(CallError::Rejected));
        assert_eq!(ask(&[&foreign, dead, &one], [age, None]).await, Ok(age));
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn a_call_is_asked_after_where_it_is_and_not_where_the_next_one_goes() {
    run(async {
        let tree = tree();
        let ((one, ones, mut asked, mut called), (other, others, ..)) = (gateway(&tree), gateway(&tree));
        let age = CallAge { age_ms: 70, silent_ms: 7 };
        ones.lock().extend((0..9).map(|_| Does::Answers(Some(age))));
        others.lock().extend((0..9).map(|_| Does::Answers(None)));
        let silence = Duration::from_secs(3);
        let edge = GenerateEdge::new(client(), &format!("{one},{other}"), silence).unwrap();
        let way = proxy::<Generate, _>(&tree, edge);
        let mut asking = std::pin::pin!(way.ask(question(), CallContext::default(), PATIENCE));
        tokio::select! {
            answer = &mut asking => panic!("nobody was to answer it: {answer:?}"),
            met = called.recv() => assert!(matches!(met, Some(Met::Took(_)))),
        }
        // Another call gets no answer in time, so that those after it go to the other gateway.
        let late = way.ask(question(), CallContext::default(), Duration::from_millis(200)).await;
        assert_eq!(late, Err(CallError::Timeout));
        // Four questions are a third of the time apart: by the last, one that was not heard of would be given up.
        for _ in 0..4 {
            tokio::select! {
                answer = &mut asking => panic!("it was given up: {answer:?}"),
                met = asked.recv() => assert!(matches!(met, Some(Met::Took(_)))),
            }
        }
        tree.root().stopped().await;
    })
    .unwrap();
}
