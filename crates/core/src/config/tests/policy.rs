//! Manifests that ask for more than `[policy]` allows, and those that do not.

use super::*;

/// A policy that has every key.
fn strict() -> PolicySpec {
    policy(&include_golden("policy.toml"))
}

fn policy(text: &str) -> PolicySpec {
    let dir = folder(&[("mistersmith.toml", text)]);
    let file = dir.path().join("mistersmith.toml");
    let mut policy = load_host(Some(&file), &HostEnv::default()).unwrap().policy;
    // Places as if the folder were the current one.
    let base = format!("{}/", dir.path().display());
    let strip = |place: &mut String| *place = place.replace(&base, "");
    let lists = [
        &mut policy.publish,
        &mut policy.request,
        &mut policy.subscribe,
        &mut policy.work,
    ];
    lists
        .into_iter()
        .flatten()
        .for_each(|c| strip(&mut c.place));
    let names = [
        &mut policy.stages,
        &mut policy.elections,
        &mut policy.circuits,
    ];
    names
        .into_iter()
        .flatten()
        .for_each(|c| strip(&mut c.place));
    let flags = [&mut policy.scatter, &mut policy.credentials];
    flags
        .into_iter()
        .flatten()
        .for_each(|c| strip(&mut c.place));
    policy.kv.iter_mut().for_each(|c| strip(&mut c.place));
    policy
}

fn whole(lines: &str) -> String {
    format!("[plugin]\nname = \"sentiment\"\n{lines}")
}

#[test]
fn everything_beyond_a_ceiling_is_said_at_once() {
    let dir = sentiment(&include_golden("policy-beyond.toml"));
    load_sentiment(&dir).expect("without a policy nothing is wrong");
    let findings = load_below(&dir, &strict()).unwrap_err();
    let said = said(&findings, &dir);
    // The ceilings of limits have the same place in each message but for the line.
    let host = said
        .split(" in ")
        .filter_map(|part| part.split_once("mistersmith.toml:"));
    let folders: Vec<&str> = host.map(|(folder, _)| folder).collect();
    let said = folders
        .iter()
        .fold(said.clone(), |said, folder| said.replace(folder, ""));
    golden("config/golden/policy-beyond.txt", &said);
}

#[test]
fn what_nobody_wrote_is_lowered_to_its_ceiling() {
    let manifest =
        whole("[[work]]\ndomain = \"nlp\"\ntask = \"x\"\n[[pipeline]]\nstage = \"extract\"\n");
    let plugin = load_below(&sentiment(&manifest), &strict()).unwrap();
    let limits = &plugin.limits;
    assert_eq!((limits.memory, limits.payload), (16 << 20, 64 << 10));
    assert_eq!(
        (limits.timeout.as_millis(), limits.cpu.as_millis()),
        (2000, 500)
    );
    assert_eq!((limits.publish_rate, limits.log_rate), (100, 10));
    assert_eq!((limits.requests, limits.subscriptions), (2, 0));
    assert_eq!((limits.handles, limits.keys), (100, 50));
    let starting = (
        limits.start_timeout.as_secs(),
        limits.stop_timeout.as_secs(),
    );
    assert_eq!(starting, (5, 1));
    assert_eq!(plugin.instances, 1);
    assert_eq!(
        (plugin.work[0].max_deliver, plugin.pipeline[0].max_deliver),
        (3, 3)
    );
}

#[test]
fn a_lower_timeout_lowers_the_budget_of_a_call() {
    let short = policy("[policy.limits]\ntimeout = \"200ms\"\n");
    let plugin = load_below(&sentiment(&whole("")), &short).unwrap();
    assert_eq!(plugin.limits.cpu.as_millis(), 200);
    let dir = sentiment(&whole("[limits]\ncpu = \"300ms\"\n"));
    let findings = load_below(&dir, &short).unwrap_err();
    assert_eq!(
        said(&findings, &dir),
        "plugins/sentiment/plugin.toml:4: limits.cpu: \"300ms\" is more than timeout, which \
         [policy] lowers; write \"200ms\" or less\n"
    );
}

#[test]
fn below_its_ceilings_a_manifest_is_as_without_them() {
    let lines = "[permissions]\npublish = [\"results.{plugin}.x\"]\n[limits]\nmemory = \"16MiB\"\n";
    let dir = sentiment(&whole(lines));
    let plugin = load_below(&dir, &strict()).unwrap();
    assert_eq!(
        plugin.permissions,
        load_sentiment(&dir).unwrap().permissions
    );
    let wide = policy("[policy]\n[policy.limits]\nmemory = \"1GiB\"\n");
    let (with, without) = (load_below(&dir, &wide), load_sentiment(&dir));
    assert_eq!(with.unwrap().limits, without.unwrap().limits);
}

#[test]
fn a_manifest_with_other_mistakes_is_not_compared() {
    let dir = sentiment(&whole("instances = 9\n[limits]\nmemory = \"32 apples\"\n"));
    let findings = load_below(&dir, &strict()).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings}");
}

#[test]
fn mistakes_in_a_policy_are_said() {
    let text = include_golden("policy-mistakes.toml");
    let dir = folder(&[("mistersmith.toml", &text)]);
    let file = dir.path().join("mistersmith.toml");
    let findings = load_host(Some(&file), &HostEnv::default()).unwrap_err();
    golden("config/golden/policy-mistakes.txt", &said(&findings, &dir));
}
