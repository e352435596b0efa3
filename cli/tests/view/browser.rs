//! A browser without a screen, told what to do over a pipe (Chrome's DevTools protocol).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

/// However busy the machine is, an answer comes by then.
const DEADLINE: Duration = Duration::from_secs(240);

/// One page in a browser of its own.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser and waits until its page is shown.
    pub(crate) fn open(page: &Path) -> Result<Self, Failed> {
        let profile = TempDir::new()?;
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--remote-debugging-pipe", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(requests), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the browser has no pipes".into());
        };
        let (sender, answers) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice::<Value>(&message) else { return };
                if message.get("id").is_some() && sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Self { child, requests, answers, last_id: 0, session: None, _profile: profile };
        browser.attach(page)?;
        Ok(browser)
    }

    fn attach(&mut self, page: &Path) -> Result<(), Failed> {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &attach)?;
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        let size = json!({ "width": 1400, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        // A file's name may have what a URL gives a meaning.
        let name: String = page.to_string_lossy().bytes().map(|b| format!("%{b:02x}")).collect();
        let url = format!("file://{}", name.replace("%2f", "/"));
        self.call("Page.navigate", &json!({ "url": url }))?;
        let last = Instant::now() + DEADLINE;
        let ready =
            "document.readyState == 'complete' && document.getElementById('summary').textContent";
        while self.evaluate(ready)?.as_str().is_none_or(str::is_empty) {
            if Instant::now() > last {
                return Err("the page is not shown".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The value of an expression in the page, awaited if it is a promise.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value, Failed> {
        let asked =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked)?;
        // While a page is loaded, the one before answers, which has nothing that is asked for.
        Ok(answer["result"]["value"].clone())
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str) -> Result<(), Failed> {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            _ if key.chars().count() == 1 => (key, 0),
            _ => ("", 0),
        };
        let down = json!({
            "type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code,
        });
        self.call("Input.dispatchKeyEvent", &down)?;
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key }))?;
        Ok(())
    }

    /// Presses the mouse at one place and lets it go at another.
    pub(crate) fn drag(&mut self, from: (f64, f64), to: (f64, f64)) -> Result<(), Failed> {
        for (kind, (x, y)) in [("mousePressed", from), ("mouseMoved", to), ("mouseReleased", to)] {
            let button = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", &button)?;
        }
        Ok(())
    }

    /// Turns the wheel.
    pub(crate) fn wheel(&mut self, (x, y): (f64, f64), down: f64) -> Result<(), Failed> {
        let wheel = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": down });
        self.call("Input.dispatchMouseEvent", &wheel).map(drop)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failed> {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        self.requests.write_all(request.to_string().as_bytes())?;
        self.requests.write_all(&[0])?;
        loop {
            let mut answer = self.answers.recv_timeout(DEADLINE)?;
            if answer["id"] != self.last_id {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(format!("{method}: {error}").into()),
                None => Ok(answer["result"].take()),
            };
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes.
        let until = Instant::now() + DEADLINE;
        let mut ends = self.call("Browser.close", &json!({})).is_ok();
        while ends && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
            ends = Instant::now() < until;
        }
        if !ends {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
