//! A plugin in the folder of a host: a manifest written by the test, and a component.

use std::path::Path;

use super::components::{component, repository};

/// Sections of a manifest, and the files beside it.
#[derive(Debug, Clone)]
pub struct Plugin {
    pub name: String,
    component: Option<Vec<u8>>,
    version: String,
    pub instances: u32,
    head: Vec<String>,
    config: Vec<String>,
    execute: Vec<String>,
    work: Vec<String>,
    stages: Vec<String>,
    subscribe: Vec<String>,
    publish_to: Vec<String>,
    subscribe_to: Vec<String>,
    request_from: Vec<String>,
    deny: Vec<String>,
    kv: Vec<String>,
    limits: Vec<String>,
    raw: Vec<String>,
    /// The whole manifest, in place of all of the above.
    whole: Option<String>,
    files: Vec<(String, Vec<u8>)>,
    /// Whether the test waits until its agents are ready.
    pub awaited: bool,
}

impl Plugin {
    /// A plugin with the component of the same name.
    pub fn new(name: &str) -> Self {
        Self::bare(name).component(component(name))
    }

    /// A plugin of the repository, with its shipped manifest.
    pub fn shipped(name: &str) -> Self {
        let manifest = repository(&format!("plugins/{name}/plugin.toml"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let instances = manifest
            .lines()
            .find_map(|line| line.strip_prefix("instances = "));
        let instances = instances.map_or(1, |number| number.trim().parse().unwrap());
        let mut plugin = Self::new(name).instances(instances).whole(&manifest);
        for file in std::fs::read_dir(repository(&format!("plugins/{name}"))).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|ending| ending == "json") {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                plugin = plugin.file(&name, std::fs::read(&file).unwrap());
            }
        }
        plugin
    }

    /// A plugin without a component.
    pub fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            component: None,
            version: "0.1.0".to_owned(),
            instances: 1,
            head: Vec::new(),
            config: Vec::new(),
            execute: Vec::new(),
            work: Vec::new(),
            stages: Vec::new(),
            subscribe: Vec::new(),
            publish_to: Vec::new(),
            subscribe_to: Vec::new(),
            request_from: Vec::new(),
            deny: Vec::new(),
            kv: Vec::new(),
            limits: Vec::new(),
            raw: Vec::new(),
            whole: None,
            files: Vec::new(),
            awaited: true,
        }
    }

    /// Sets the bytes of `<name>.wasm`.
    pub fn component(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.component = Some(bytes.into());
        self
    }

    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    pub fn instances(mut self, count: u32) -> Self {
        self.instances = count;
        self
    }

    /// Adds a line of `[plugin]`.
    pub fn head(mut self, line: &str) -> Self {
        self.head.push(line.to_owned());
        self
    }

    /// Adds a line of `[config]`.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// Adds a line of `[execute]`.
    pub fn execute(mut self, line: &str) -> Self {
        self.execute.push(line.to_owned());
        self
    }

    /// Adds work of a domain, with at most three attempts and a short backoff.
    pub fn work(self, domain: &str, task: &str) -> Self {
        self.work_with(domain, task, "max_deliver = 3\nbackoff = [\"100ms\"]")
    }

    /// Adds work of a domain, with further lines.
    pub fn work_with(mut self, domain: &str, task: &str, lines: &str) -> Self {
        self.work
            .push(format!("domain = \"{domain}\"\ntask = \"{task}\"\n{lines}"));
        self
    }

    /// Adds a pipeline stage, with further lines, at most three attempts and a short backoff; its
    /// output is that of the `stage` command.
    pub fn stage(self, stage: &str, lines: &str) -> Self {
        self.stage_doing(stage, lines, "{ do = \"stage\" }")
    }

    /// Adds a stage that executes a command of the probe.
    pub fn stage_doing(mut self, stage: &str, lines: &str, command: &str) -> Self {
        self.stages.push(format!(
            "stage = \"{stage}\"\nmax_deliver = 3\nbackoff = [\"100ms\"]\n{lines}"
        ));
        if self.stages.len() > 1 {
            return self;
        }
        self.config(&format!("on_stage = {command}"))
    }

    /// Adds a subscription of the manifest.
    pub fn subscribe(self, subject: &str) -> Self {
        self.subscribe_with(subject, "")
    }

    /// Adds a subscription in a queue group.
    pub fn subscribe_queue(self, subject: &str, queue: &str) -> Self {
        self.subscribe_with(subject, &format!("queue = \"{queue}\""))
    }

    /// Adds a subscription with further lines.
    pub fn subscribe_with(mut self, subject: &str, lines: &str) -> Self {
        self.subscribe
            .push(format!("subject = \"{subject}\"\n{lines}"));
        self
    }

    pub fn grant_publish(mut self, pattern: &str) -> Self {
        self.publish_to.push(pattern.to_owned());
        self
    }

    pub fn grant_subscribe(mut self, pattern: &str) -> Self {
        self.subscribe_to.push(pattern.to_owned());
        self
    }

    pub fn grant_request(mut self, pattern: &str) -> Self {
        self.request_from.push(pattern.to_owned());
        self
    }

    pub fn deny(mut self, pattern: &str) -> Self {
        self.deny.push(pattern.to_owned());
        self
    }

    /// Grants keys of a bucket; `access` is `read`, `write` or `read-write`.
    pub fn grant_kv(mut self, bucket: &str, keys: &str, access: &str) -> Self {
        self.kv.push(format!(
            "{{ bucket = \"{bucket}\", keys = [\"{keys}\"], access = \"{access}\" }}"
        ));
        self
    }

    /// Adds a line of `[limits]`.
    pub fn limit(mut self, line: &str) -> Self {
        self.limits.push(line.to_owned());
        self
    }

    /// Adds any other table of the manifest.
    pub fn section(mut self, toml: &str) -> Self {
        self.raw.push(toml.to_owned());
        self
    }

    /// Sets exactly this manifest.
    pub fn whole(mut self, toml: &str) -> Self {
        self.whole = Some(toml.to_owned());
        self
    }

    /// Adds a file beside the manifest.
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Marks the plugin as one that will not run: the test does not wait for its agents.
    pub fn not_awaited(mut self) -> Self {
        self.awaited = false;
        self
    }

    /// Adds a table, or further lines of the last one.
    pub fn table(mut self, toml: &str) -> Self {
        self.raw.push(toml.to_owned());
        self
    }

    /// The text of `plugin.toml`.
    pub fn manifest(&self) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let mut text = format!(
            "[plugin]\nname = \"{}\"\nversion = \"{}\"\ninstances = {}\n",
            self.name, self.version, self.instances
        );
        text.extend(self.head.iter().map(|line| format!("{line}\n")));
        let mut section = |name: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("\n{name}\n{}\n", lines.join("\n")));
            }
        };
        section("[config]", &self.config);
        section("[execute]", &self.execute);
        for work in &self.work {
            section("[[work]]", std::slice::from_ref(work));
        }
        for stage in &self.stages {
            section("[[pipeline]]", std::slice::from_ref(stage));
        }
        for subscribe in &self.subscribe {
            section("[[subscribe]]", std::slice::from_ref(subscribe));
        }
        let list = |key: &str, patterns: &[String]| format!("{key} = {patterns:?}");
        section(
            "[permissions]",
            &[
                list("publish", &self.publish_to),
                list("subscribe", &self.subscribe_to),
                list("request", &self.request_from),
                list("deny", &self.deny),
                format!("kv = [{}]", self.kv.join(", ")),
            ],
        );
        section("[limits]", &self.limits);
        section("", &self.raw);
        text
    }

    /// Writes the plugin into a plugins folder. The manifest is written last, as a person would.
    pub fn write(&self, plugins: &Path) {
        let folder = plugins.join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, content) in &self.files {
            std::fs::write(folder.join(name), content).unwrap();
        }
        if let Some(bytes) = &self.component {
            std::fs::write(folder.join(format!("{}.wasm", self.name)), bytes).unwrap();
        }
        std::fs::write(folder.join("plugin.toml"), self.manifest()).unwrap();
    }
}
