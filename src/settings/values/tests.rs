//! Settings from all their sources, and what is said of those that are wrong.

use super::*;
use crate::llm::ProviderKind;

fn environment(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn refusal(entries: &[(&str, &str)]) -> String {
    load(None, &environment(entries), &Vec::new()).unwrap_err().to_string()
}

#[test]
fn the_defaults_need_nothing() {
    let settings = load(None, &HashMap::new(), &Vec::new()).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.store.to_string(), "sqlite:./callboard.db");
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.heartbeat_ttl, Duration::from_secs(30));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callboard.toml");
    std::fs::write(&file, "slots = 7\nmax_crashes = 20\ntask_wait = 5\n").unwrap();
    let environment = environment(&[("CALLBOARD_SLOTS", "8"), ("CALLBOARD_TASK_WAIT", "6"), ("LLM_PROVIDER", "mock")]);
    let flags = vec![("task_wait", "2.5".to_owned())];
    let settings = load(Some(&file), &environment, &flags).unwrap();
    assert_eq!((settings.limits.max_crashes, settings.slots), (20, 8));
    assert_eq!(settings.task_wait, Duration::from_millis(2500));
    assert_eq!(settings.models.provider, ProviderKind::Mock);
}

#[test]
fn variables_of_a_container_platform_are_no_settings() {
    let set = environment(&[
        ("CALLBOARD_PORT", "tcp://10.0.0.1:8000"),
        ("CALLBOARD_SERVICE_HOST", "10.0.0.1"),
        ("CALLBOARD_REDIS_SERVICE_HOST", "10.0.0.2"),
        ("CALLBOARD_REDIS_SERVICE_PORT_TLS", "6380"),
        ("CALLBOARD_REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("CALLBOARD_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
        ("REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("REDIS_HOST", "10.0.0.2"),
    ]);
    assert_eq!(load(None, &set, &Vec::new()).unwrap().redis.unwrap().port, 6379);
}

#[test]
fn an_own_variable_wins_over_the_predecessors() {
    let both = environment(&[("LLM_PROVIDER", "mock"), ("CALLBOARD_PROVIDER", "extractive")]);
    assert_eq!(load(None, &both, &Vec::new()).unwrap().models.provider, ProviderKind::Extractive);
}

#[test]
fn what_is_wrong_is_told_with_its_name_and_a_remedy() {
    assert!(refusal(&[("CALLBOARD_STORE", "postgres://x")]).contains("sqlite:PATH"));
    assert!(refusal(&[("CALLBOARD_STEP_TIMEOUT", "soon")]).contains("setting step_timeout"));
    assert!(refusal(&[("CALLBOARD_SLOTZ", "1")]).contains("did you mean CALLBOARD_SLOTS?"));
    assert!(refusal(&[("CALLBOARD_TASK_WAIT", "-1")]).contains("between 0 and 300"));
    assert!(refusal(&[("CALLBOARD_ROLE", "boss")]).contains("master, gateway and worker"));
    assert!(refusal(&[("MASTER_MODE", "other")]).contains("use pipeline or routing"));
    assert!(refusal(&[("CALLBOARD_MOCK_LATENCY", "5 parsecs")]).contains("mock_latency"));
}

#[test]
fn each_role_has_its_port_and_needs_its_colleagues() {
    let worker = refusal(&[("CALLBOARD_ROLE", "worker")]);
    assert!(worker.contains("MASTER_URL") && worker.contains("LLM_GATEWAY_URL"), "{worker}");
    let colleagues = [("MASTER_URL", "http://x:s3cret@master:8000"), ("LLM_GATEWAY_URL", "http://gateway:7000")];
    let of = |role: &str| {
        let set = environment(&[&colleagues[..], &[("CALLBOARD_ROLE", role)]].concat());
        let survey = survey(None, &set, &Vec::new());
        assert!(!format!("{survey:?}").contains("s3cret"));
        survey.settings.unwrap()
    };
    assert_eq!(of("worker").listen.to_string(), "127.0.0.1:5000");
    assert_eq!(of("gateway").listen.to_string(), "127.0.0.1:7000");
    assert_eq!(of("master,gateway").listen.to_string(), "127.0.0.1:8000");
    assert_eq!(of("worker").colleagues.master.unwrap().as_str(), "http://x:s3cret@master:8000");
    assert!(refusal(&[("MASTER_URL", "master:8000")]).contains("http://host:port"));
}

#[test]
fn the_predecessors_names_for_a_worker_are_understood() {
    let set = environment(&[
        ("AGENT_ID", "worker-a"),
        ("CAPABILITIES", r#"["analyze"]"#),
        ("AG2_PROFILE", "analyst"),
        ("LLM_GATEWAY_TIMEOUT", "90"),
        ("MASTER_MODE", "routing"),
    ]);
    let settings = load(None, &set, &Vec::new()).unwrap();
    assert_eq!(settings.crew.agent.unwrap().as_str(), "worker-a");
    assert_eq!(settings.crew.capabilities.unwrap().len(), 1);
    assert_eq!(settings.colleagues.gateway_timeout, Duration::from_secs(90));
    assert_eq!(settings.master_mode, MasterMode::Routing);
}

#[test]
fn an_open_listener_needs_keys_or_the_word() {
    let open = ("CALLBOARD_LISTEN", "0.0.0.0:8000");
    assert!(refusal(&[open]).contains("CALLBOARD_API_KEYS"));
    assert!(load(None, &environment(&[open, ("CALLBOARD_INSECURE", "true")]), &Vec::new()).is_ok());
    let keyed = load(None, &environment(&[open, ("CALLBOARD_API_KEYS", "s3cret=acme")]), &Vec::new()).unwrap();
    assert!(!format!("{keyed:?}").contains("s3cret"));
    // Without the token that its colleagues would show, its edges are closed; by itself it is whole.
    let split = [open, ("CALLBOARD_API_KEYS", "s3cret=acme"), ("CALLBOARD_ROLE", "master")];
    assert!(refusal(&split).contains("CALLBOARD_INTERNAL_TOKEN"));
    let guarded = environment(&[&split[..], &[("CALLBOARD_INTERNAL_TOKEN", "t0ken")]].concat());
    assert!(!format!("{:?}", load(None, &guarded, &Vec::new()).unwrap()).contains("t0ken"));
}

#[test]
fn every_problem_is_told_at_once_with_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callboard.toml");
    std::fs::write(&file, "slots = 0\nstpe_timeout = \"5m\"\n").unwrap();
    let environment =
        environment(&[("CALLBOARD_RETAIN_FOR", "1s"), ("CALLBOARD_LISTN", "x"), ("MASTER_MODE", "other")]);
    let flags = vec![("store", "postgres://ann:s3cret@host".to_owned())];
    let told = load(Some(&file), &environment, &flags).unwrap_err().to_string();
    let told = told.replace(&*file.to_string_lossy(), "FILE");
    insta::assert_snapshot!(told, @r#"
    6 settings cannot be used:
      FILE:2: there is no setting "stpe_timeout": did you mean step_timeout?
      CALLBOARD_LISTN: there is no setting "CALLBOARD_LISTN": did you mean CALLBOARD_LISTEN?
      setting master_mode (MASTER_MODE): there is no mode "other": use pipeline or routing
      setting store (on the command line): "postgres:***@host" names no store: use `memory:`, `sqlite:PATH` or `redis://HOST`, for example `sqlite:./callboard.db`
      setting slots (FILE:1): "0" is no whole number of at least 1, or too large
      setting retain_for (CALLBOARD_RETAIN_FOR): 1s is less than 1m, or off
    "#);
}

#[test]
fn nothing_shows_a_secret() {
    let set = environment(&[
        ("CALLBOARD_API_KEYS", "s3cret=acme,t0ken"),
        ("CALLBOARD_STORE", "redis://ann:s3cret@cache"),
        ("REDIS_PASSWORD", "t0ken"),
    ]);
    let survey = survey(None, &set, &Vec::new());
    assert!(!format!("{survey:?}").contains("s3cret") && !format!("{survey:?}").contains("t0ken"));
    let shown = |name: &str| survey.values.iter().find(|shown| shown.name == name).unwrap().value.clone();
    assert_eq!((shown("store"), shown("redis_password")), ("redis://cache".to_owned(), "***".to_owned()));
    let keys = survey.values.iter().find(|shown| shown.name == "api_keys").unwrap();
    assert_eq!((keys.value.as_str(), keys.source.to_string().as_str()), ("***", "CALLBOARD_API_KEYS"));
}

#[test]
fn retention_can_be_chosen_and_switched_off() {
    let retention = |entries: &[(&str, &str)]| load(None, &environment(entries), &Vec::new()).unwrap().retention;
    assert!(retention(&[]).is_off(), "nothing goes unless somebody says so");
    let month = Duration::from_secs(30 * 24 * 3600);
    let kept = retention(&[("CALLBOARD_RETAIN_FOR", "30days")]);
    assert_eq!(kept, Retention { age: Some(month), count: None });
    let both = [("CALLBOARD_RETAIN_FOR", "2days"), ("CALLBOARD_RETAIN_TASKS", "7")];
    assert_eq!(retention(&both), Retention { age: Some(Duration::from_secs(2 * 24 * 3600)), count: Some(7) });
    assert!(refusal(&[("CALLBOARD_RETAIN_TASKS", "0")]).contains("or off"));
}

#[test]
fn every_default_is_a_value() {
    for setting in super::super::SETTINGS {
        if let Some(default) = setting.default {
            let name = format!("CALLBOARD_{}", setting.name.to_uppercase());
            assert!(load(None, &environment(&[(&name, default)]), &Vec::new()).is_ok(), "{name}");
        }
    }
}
