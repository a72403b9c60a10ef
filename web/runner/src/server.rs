//! A web server for one page on this machine: fixed files, and what the page posts, as events.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Contents by path.
pub type Files = HashMap<String, Vec<u8>>;

/// What the page posted.
pub enum Event {
    /// Something is right.
    Passed(String),
    /// Something is wrong.
    Failed(String),
    /// Something to know.
    Note(String),
    /// There is no more.
    End,
}

pub struct Server {
    address: String,
    events: Receiver<Event>,
}

/// Longest message that is read.
const LONGEST: u64 = 1 << 20;

impl Server {
    /// Serves on a free port, for as long as the program runs.
    pub fn start(files: Files) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("opening a port")?;
        let address = format!("http://{}", listener.local_addr()?);
        let (sender, events) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One at a time: events stay in their order. A connection that breaks is the browser's business.
                let _ = answer(stream, &files, &sender);
            }
        });
        Ok(Self { address, events })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next event, if there is one in this time.
    pub fn next(&self, within: Duration) -> Option<Event> {
        self.events.recv_timeout(within).ok()
    }
}

fn answer(stream: TcpStream, files: &Files, events: &Sender<Event>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { bail!("no request") };
    let (method, path) = (method.to_owned(), target.split('?').next().unwrap_or_default().to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    if method == "POST" {
        let mut body = Vec::new();
        reader.take(LONGEST.min(length)).read_to_end(&mut body)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let event = match path.as_str() {
            "/passed" => Event::Passed(text),
            "/failed" => Event::Failed(text),
            "/note" => Event::Note(text),
            "/end" => Event::End,
            _ => bail!("{path} is not known"),
        };
        respond(&stream, "200 OK", "text/plain", b"")?;
        return events.send(event).context("nobody listens");
    }
    match files.get(&path) {
        Some(contents) => respond(&stream, "200 OK", kind(&path), contents),
        None => respond(&stream, "404 Not Found", "text/plain", b""),
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        _ => "text/html",
    }
}

fn respond(mut stream: &TcpStream, status: &str, kind: &str, contents: &[u8]) -> Result<()> {
    let length = contents.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(contents)?;
    Ok(())
}
