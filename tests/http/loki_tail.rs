//! Live tail as Grafana and logcli follow it: a websocket that shows entries as they come in.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use crate::common::{Server, encode, now_ms};

const MILLI: i64 = 1_000_000;

fn push(server: &Server, app: &str, timestamp: i64, line: &str) {
    let stream = json!({"stream": {"app": app}, "values": [[timestamp.to_string(), line]]});
    let json = [("content-type", "application/json")];
    let answer = server.post("/loki/api/v1/push", &json, json!({"streams": [stream]}).to_string());
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
}

/// A client that follows `parameters`; its flags ask for labels by kind.
fn tail(server: &Server, parameters: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{}/loki/api/v1/tail?{parameters}", server.address());
    let mut request = url.into_client_request().unwrap();
    let flag = "categorize-labels".parse().unwrap();
    request.headers_mut().insert("x-loki-response-encoding-flags", flag);
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client(request, stream).unwrap().0
}

fn next_frame(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The frame with one entry.
fn frame(app: &str, timestamp: i64, line: &str, level: &str) -> Value {
    let own = json!({"structuredMetadata": {"detected_level": level}});
    json!({
        "encodingFlags": ["categorize-labels"],
        "streams": [{
            "stream": {"app": app, "service_name": app},
            "values": [[timestamp.to_string(), line, own]],
        }],
        "dropped_entries": [],
    })
}

#[test]
fn a_tail_shows_the_last_entries_and_then_what_comes_in() {
    let server = Server::start(&[]);
    let now = now_ms() * MILLI;
    for (ago, line) in [(3, "error: first"), (2, "error: second"), (1, "error: third"), (1, "fine")] {
        push(&server, "shop", now - ago * 1_000 * MILLI, line);
    }
    let query = encode(r#"{app="shop"} |= "error""#);
    let mut socket = tail(&server, &format!("query={query}&limit=2&start={}", now - 60_000 * MILLI));
    let mut past = frame("shop", now - 2_000 * MILLI, "error: second", "error");
    past["streams"][0]["values"].as_array_mut().unwrap().push(json!([
        (now - 1_000 * MILLI).to_string(),
        "error: third",
        {"structuredMetadata": {"detected_level": "error"}},
    ]));
    assert_eq!(next_frame(&mut socket), past);
    push(&server, "other", now, "error: elsewhere");
    push(&server, "shop", now, "all is well");
    push(&server, "shop", now + 1, "error: fourth");
    assert_eq!(next_frame(&mut socket), frame("shop", now + 1, "error: fourth", "error"));
    push(&server, "shop", now - 5_000 * MILLI, "error: late");
    assert_eq!(next_frame(&mut socket), frame("shop", now - 5_000 * MILLI, "error: late", "error"));
}

#[test]
fn a_tail_that_waits_shows_entries_in_order_of_time() {
    let server = Server::start(&[]);
    let mut socket = tail(&server, &format!("query={}&delay_for=5", encode(r#"{app="shop"}"#)));
    loop {
        let (now, begun) = (now_ms() * MILLI, Instant::now());
        push(&server, "shop", now + 1, "later");
        push(&server, "shop", now, "earlier");
        // The tail waits for five seconds and not for a machine that is busier than that.
        let came_in_time = begun.elapsed() < Duration::from_secs(2);
        let mut lines = Vec::new();
        while lines.len() < 2 {
            let frame = next_frame(&mut socket);
            let values = frame["streams"][0]["values"].as_array().unwrap().clone();
            lines.extend(values.into_iter().map(|entry| entry[1].as_str().unwrap().to_owned()));
        }
        if came_in_time {
            return assert_eq!(lines, ["earlier", "later"]);
        }
    }
}

#[test]
fn what_is_wrong_with_a_tail_is_told_before_it_begins() {
    let server = Server::start(&[]);
    for (parameters, part) in [
        (format!("query={}", encode("{app=")), "line 1, col 6"),
        (format!("query={}", encode(r#"rate({app="a"}[1m])"#)), "metric"),
        (format!("query={}&delay_for=6", encode(r#"{app="a"}"#)), "delay_for can't be greater than 5"),
        (format!("query={}&limit=0", encode(r#"{app="a"}"#)), "limit must be a positive value"),
    ] {
        let url = format!("ws://{}/loki/api/v1/tail?{parameters}", server.address());
        let stream = TcpStream::connect(server.address()).unwrap();
        let refused = match client(url.into_client_request().unwrap(), stream) {
            Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response))) => response,
            other => panic!("{parameters}: {other:?}"),
        };
        assert_eq!(refused.status(), 400, "{parameters}");
        let body = String::from_utf8(refused.into_body().unwrap_or_default()).unwrap();
        assert!(body.contains(part), "{parameters}: {body}");
    }
    let plain = server.get("/loki/api/v1/tail?query=%7Ba%3D%22b%22%7D");
    assert!((400..500).contains(&plain.status), "{}", plain.body);
}

#[test]
fn tails_beyond_the_limit_are_refused_and_those_that_left_make_room() {
    let server = Server::start(&[]);
    let parameters = format!("query={}", encode(r#"{app="a"}"#));
    let mut open: Vec<_> = (0..32).map(|_| tail(&server, &parameters)).collect();
    let refused = || {
        let url = format!("ws://{}/loki/api/v1/tail?{parameters}", server.address());
        client(url, TcpStream::connect(server.address()).unwrap()).err().map(|error| error.to_string())
    };
    assert!(refused().unwrap().contains("503"));
    open.pop();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while refused().is_some() {
        assert!(std::time::Instant::now() < deadline, "the place was not given back");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_tail_ends_with_the_server() {
    let mut server = Server::start(&[]);
    let mut socket = tail(&server, &format!("query={}", encode(r#"{app="a"}"#)));
    server.signal("TERM");
    let end = loop {
        match socket.read() {
            Ok(Message::Close(frame)) => break frame,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(end.unwrap().reason.as_str(), "Icecore is shutting down");
    assert_eq!(server.wait().code(), Some(0));
}
