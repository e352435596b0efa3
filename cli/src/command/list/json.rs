//! What is listed, as one JSON object.

use tracedat::compress::Codec;
use tracefs::{EventName, Instance};

use super::events::{self, Detail, Wanted};
use super::prototypes::Prototypes;
use super::{List, any_matches, codecs, functions};
use crate::command::options;
use crate::command::record::kernel_error;
use crate::error::Error;
use crate::json::Json;

/// The object.
pub(super) fn object(list: &List<'_>) -> Result<Json, Error> {
    let top = list.dir.top();
    let asked = |name| list.is_default || list.asked(name);
    let mut members: Vec<(&str, Json)> = Vec::new();
    if asked("systems") {
        members.push(("systems", Json::from_iter(top.listed_systems().map_err(kernel_error)?)));
    }
    let wanted = if list.is_default { Some(Wanted::names()) } else { Wanted::asked(list)? };
    if let Some(wanted) = wanted {
        let names = wanted.select(&top)?;
        let events = names.iter().map(|name| event(&top, name, wanted.detail));
        members.push(("events", Json::List(events.collect::<Result<_, _>>()?)));
    }
    if asked("tracers") {
        members.push(("tracers", Json::from_iter(top.available_tracers().map_err(kernel_error)?)));
    }
    let regexes = if list.is_default { Some(Vec::new()) } else { list.regexes("options")? };
    if let Some(regexes) = regexes {
        let options = top.listed_options().map_err(kernel_error)?.into_iter();
        let wanted = options.filter(|(name, _)| any_matches(&regexes, name));
        members.push(("options", Json::object(wanted.map(|(name, set)| (name, set.into())))));
    }
    if let Some(regexes) = list.regexes("functions")? {
        let mut names: Vec<Json> = Vec::new();
        let prototypes = Prototypes::asked(list)?;
        functions(&list.dir, &regexes, |name| {
            names.push(prototypes.of(name).as_ref().into());
            Ok(())
        })?;
        members.push(("functions", Json::List(names)));
    }
    if asked("instances") {
        let names = list.dir.listed_instances().map_err(kernel_error)?;
        members.push(("instances", Json::from_iter(names)));
    }
    if asked("clocks") {
        let clocks = top.trace_clocks().map_err(kernel_error)?;
        members.push(("clocks", Json::from_iter(clocks.available)));
        members.push(("clock", clocks.current.into()));
    }
    if asked("compression") {
        members.push(("compression", codecs().map(Codec::name).collect()));
    }
    if asked("plugin-options") {
        members.push(("plugin_options", options::json()));
    }
    Ok(Json::object(members))
}

fn event(top: &Instance, name: &EventName, detail: Detail) -> Result<Json, Error> {
    let (key, value) = match detail {
        Detail::Name => return Ok(name.to_string().into()),
        Detail::Format { full } => {
            ("format", Some(events::format(top, name, full).map_err(kernel_error)?))
        }
        Detail::Filter => {
            ("filter", events::text(top, name, "filter")?.filter(|text| text != "none"))
        }
        Detail::Triggers => {
            let text = events::text(top, name, "trigger")?.unwrap_or_default();
            let set = text.lines().filter(|line| !line.starts_with('#'));
            return Ok(named(name, "triggers", set.collect()));
        }
    };
    Ok(named(name, key, value.into()))
}

fn named(name: &EventName, key: &str, value: Json) -> Json {
    Json::object([("event", name.to_string().into()), (key, value)])
}
