//! Lists events of this kernel with their fields: `list_events 'sched:sched_sw*'`.

use std::error::Error;

use tracefs::TracingDir;

fn main() -> Result<(), Box<dyn Error>> {
    let pattern = std::env::args().nth(1).unwrap_or_else(|| "sched".to_owned());
    let top = TracingDir::find_or_mount()?.top();
    for name in top.select(&pattern)?.events() {
        println!("{name}");
        let format = top.event_format(&name)?;
        for line in String::from_utf8_lossy(&format).lines() {
            if let Some(field) = line.trim_start().strip_prefix("field:") {
                println!("    {}", field.split(';').next().unwrap_or_default());
            }
        }
    }
    Ok(())
}
