//! Enables events for a moment and counts them: `enable_event 'sched:sched_sw*'`.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use tracefs::{Changes, TracingDir};

fn main() -> Result<(), Box<dyn Error>> {
    let pattern = std::env::args().nth(1).unwrap_or_else(|| "sched:sched_switch".to_owned());
    let dir = TracingDir::find_or_mount()?;
    let mut changes = Changes::new();
    let (instance, _) = changes.create_instance(&dir, "enable_event")?;
    let selection = instance.select(&pattern)?;
    changes.enable(&instance, &selection)?;
    sleep(Duration::from_secs(1));
    changes.set_tracing_on(&instance, false)?;
    for cpu in instance.cpus()? {
        let stats = instance.buffer_stats(cpu)?;
        println!("CPU {cpu}: {} events, {} lost", stats.entries, stats.lost_events());
    }
    changes.restore()?;
    Ok(())
}
