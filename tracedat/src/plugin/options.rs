//! What the user asks of handlers: `plugin:name=value`, or `name` for every plugin that knows it.

/// Options of handlers, later ones first.
#[derive(Clone, Debug, Default)]
pub struct HandlerOptions {
    options: Vec<HandlerOption>,
}

#[derive(Clone, Debug)]
struct HandlerOption {
    plugin: Option<String>,
    name: String,
    value: Option<String>,
}

impl HandlerOptions {
    /// Adds an option written as `[plugin:]name[=value]`.
    pub fn add(&mut self, text: &str) {
        let (path, value) = match text.split_once('=') {
            Some((path, value)) => (path, Some(value.to_owned())),
            None => (text, None),
        };
        let (plugin, name) = match path.split_once(':') {
            Some((plugin, name)) => (Some(plugin.to_owned()), name),
            None => (None, path),
        };
        self.options.insert(0, HandlerOption { plugin, name: name.to_owned(), value });
    }

    /// The value given for an option of a plugin; the inner `None` when it was named without one.
    pub fn value(&self, plugin: &str, name: &str) -> Option<Option<&str>> {
        let option = self
            .options
            .iter()
            .find(|o| o.name == name && o.plugin.as_deref().is_none_or(|p| p == plugin))?;
        Some(option.value.as_deref())
    }

    /// A switch: its default when not given; on for `1` or `true`, off for `0` or `false`; named
    /// without a value it is turned over.
    pub fn switch(&self, plugin: &str, name: &str, default: bool) -> bool {
        match self.value(plugin, name) {
            None => default,
            Some(None) => !default,
            Some(Some("1" | "true")) => true,
            Some(Some("0" | "false")) => false,
            Some(Some(_)) => default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_reaches_its_plugin_only_and_the_last_one_wins() {
        let mut options = HandlerOptions::default();
        options.add("fgraph:tailprint=1");
        options.add("indent");
        assert!(options.switch("fgraph", "tailprint", false));
        assert!(!options.switch("ftrace", "tailprint", false));
        assert!(!options.switch("ftrace", "indent", true));
        options.add("fgraph:tailprint=0");
        assert!(!options.switch("fgraph", "tailprint", true));
        assert_eq!(options.value("fgraph", "depth"), None);
    }
}
