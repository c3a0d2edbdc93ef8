//! The permissions of plugins, in words and as permissions of nats-server.

use super::*;

fn whole(lines: &str) -> PluginSpec {
    let manifest = format!("[plugin]\nname = \"sentiment\"\n{lines}");
    load_sentiment(&sentiment(&manifest)).unwrap()
}

#[test]
fn what_is_said_about_permissions() {
    let dir = sentiment(&include_golden("plugin-good.toml"));
    let plugin = load_sentiment(&dir).unwrap();
    let words = permitted(&plugin).join("\n");
    let base = format!("{}/", dir.path().display());
    golden(
        "config/golden/permitted.txt",
        &format!("{words}\n").replace(&base, ""),
    );
    let conf = ServerRights::of(&plugin).conf("SENTIMENT_PLUGIN");
    golden("config/golden/server-rights.txt", &conf);
}

#[test]
fn what_no_grant_opens_is_closed_on_the_server_too() {
    let rights = ServerRights::of(&whole(
        "[permissions]\npublish = [\">\"]\nsubscribe = [\">\"]\n",
    ));
    for closed in ["$SYS.>", "dlq.>", "agent.*.resp.>", "agent.*.cmd.shutdown"] {
        assert!(rights.publish.deny.contains(&closed.to_owned()), "{closed}");
    }
    assert!(rights.subscribe.deny.contains(&"work.>".to_owned()));
    // The host needs some of it, and says so.
    for needed in ["$JS.>", "$O.>", "gather.>"] {
        assert!(
            !rights.publish.deny.contains(&needed.to_owned()),
            "{needed}"
        );
        let said = |text: &String| text.starts_with(&format!("{needed}: "));
        assert!(rights.differences.iter().any(said), "{needed}");
    }
}

#[test]
fn the_server_allows_more_where_it_cannot_tell() {
    let rights = ServerRights::of(&whole(
        "[permissions]\npublish = [\"m.{agent}.x\", \"out.>\"]\ndeny = [\"out.secret\", \"*.x\", \
         \"m.{agent}.y\"]\nkv = [{ bucket = \"B\", keys = [\"{agent}.a\"], access = \"write\" }]\n",
    ));
    assert_eq!(rights.publish.allow, ["m.*.x", "out.>", "$KV.B.*.a"]);
    assert_eq!(rights.publish.deny, ["out.secret"]);
    assert_eq!(rights.subscribe.allow, ["_INBOX.>"]);
    assert_eq!(rights.allow_responses, None);
    let text = rights.differences.join("\n");
    for part in [
        "m.{agent}.x: ",
        "deny *.x: ",
        "deny m.{agent}.y: ",
        "{agent}.a: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_plugin_that_may_nothing_is_refused_everything() {
    let conf = ServerRights::of(&whole("")).conf("X");
    assert!(conf.contains("publish: {\n    deny: [\">\"]\n"), "{conf}");
    assert!(!conf.contains("allow_responses"), "{conf}");
}
