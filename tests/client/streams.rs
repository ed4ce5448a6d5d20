//! Streams as blocking iterators.

use std::time::Duration;

use connection_pool_manager::client::{CallOptions, Code, ConnectionManager, Error, RpcError};
use grpcio::{Client, RpcStatusCode};

use crate::calls::quick;
use crate::echo::{Echo, Step, JOIN, LETTERS, TALK};
use crate::proxy::Proxy;
use crate::{eventually, ready, PATIENCE};

const DOWN: Step = Step::Fail(RpcStatusCode::UNAVAILABLE);

fn all(messages: impl Iterator<Item = Result<Vec<u8>, Error>>) -> (String, Option<RpcError>) {
    let (mut text, mut error) = (String::new(), None);
    for message in messages {
        match message {
            Ok(message) => text.push_str(std::str::from_utf8(&message).unwrap()),
            Err(Error::Rpc(rpc)) => assert!(error.replace(*rpc).is_none(), "it goes on after it"),
            Err(error) => panic!("{error}"),
        }
    }
    (text, error)
}

#[test]
fn the_messages_of_a_stream_come_one_after_the_other_and_then_its_end() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &quick(echo.port, 1)).unwrap();
    manager.await_ready(PATIENCE).unwrap();
    let options = CallOptions::new();
    let messages = pool.stream(&LETTERS, &b"abc".to_vec(), &options).unwrap();
    assert_eq!(pool.metrics().lent, 1, "it has a connection until its end");
    let (text, error) = all(messages);
    assert!(text == "abc" && error.is_none() && pool.metrics().lent == 0);
    let stub = |channel: &grpcio::Channel, option| {
        Client::new(channel.clone()).server_streaming(&LETTERS, &b"xy".to_vec(), option)
    };
    let messages = pool.stream_with("/test.Echo/Letters", &options, stub).unwrap();
    assert_eq!(all(messages).0, "xy");
    echo.script(&[Step::Fail(RpcStatusCode::DATA_LOSS)]);
    let (text, error) = all(pool.stream(&LETTERS, &b"abc".to_vec(), &options).unwrap());
    assert_eq!((text.as_str(), error.unwrap().code), ("abc", Code::DataLoss));
    let counted = "grpc_client_stream_messages_total{direction=\"received\",\
                   method=\"/test.Echo/Letters\",service=\"echo\"} 8\n";
    assert!(manager.metrics().encode().contains(counted));
}

#[test]
fn a_stream_begins_anew_until_its_first_message_has_come_and_not_after() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    let idempotent = CallOptions::new().idempotent();
    echo.script(&[DOWN, DOWN]);
    let (text, error) = all(pool.stream(&LETTERS, &Vec::new(), &idempotent).unwrap());
    assert!(text.is_empty() && error.is_none() && echo.calls() == 3);
    echo.script(&[DOWN]);
    let (text, error) = all(pool.stream(&LETTERS, &b"a".to_vec(), &idempotent).unwrap());
    assert_eq!((text.as_str(), error.unwrap().attempts, echo.calls()), ("a", 1, 4));
    echo.script(&[DOWN]);
    let (_, error) = all(pool.stream(&LETTERS, &Vec::new(), &CallOptions::new()).unwrap());
    assert_eq!((error.unwrap().code, echo.calls()), (Code::Unavailable, 5), "not idempotent");
}

#[test]
fn a_stream_ends_with_its_deadline_and_when_it_is_dropped() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Hang, Step::Hang]);
    let short = CallOptions::new().timeout(Duration::from_millis(50)).idempotent();
    let (text, error) = all(pool.stream(&LETTERS, &b"a".to_vec(), &short).unwrap());
    assert_eq!((text.as_str(), error.unwrap().code), ("a", Code::DeadlineExceeded));
    let long = CallOptions::new().timeout(PATIENCE);
    let mut messages = pool.stream(&LETTERS, &b"a".to_vec(), &long).unwrap();
    assert_eq!(messages.next().unwrap().unwrap(), b"a");
    drop(messages);
    assert_eq!(pool.metrics().lent, 0);
    assert_eq!(all(pool.stream(&LETTERS, &b"b".to_vec(), &long).unwrap()).0, "b");
}

#[test]
fn a_cut_ends_a_stream_with_an_error() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&quick(proxy.port, 1));
    echo.script(&[Step::Hang]);
    let options = CallOptions::new().idempotent().timeout(PATIENCE);
    let mut messages = pool.stream(&LETTERS, &b"a".to_vec(), &options).unwrap();
    assert_eq!(messages.next().unwrap().unwrap(), b"a");
    proxy.cut();
    let next = messages.next();
    assert!(matches!(next, Some(Err(Error::Rpc(error))) if error.code == Code::Unavailable));
    assert!(messages.next().is_none() && pool.metrics().lent == 0);
}

#[test]
fn a_connection_carries_streams_and_stays_lent_until_they_have_ended() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    let options = CallOptions::new().timeout(PATIENCE);
    let connection = pool.get().unwrap();
    assert_eq!(all(connection.stream(&LETTERS, &b"ab".to_vec(), &options).unwrap()).0, "ab");
    let mut upload = connection.upload(&JOIN, &options).unwrap();
    assert!(upload.send(b"a".to_vec()) && upload.send(b"b".to_vec()));
    assert_eq!(upload.finish().unwrap(), b"ab");
    let mut talk = connection.duplex(&TALK, &options).unwrap();
    assert!(talk.send(b"hello".to_vec()));
    assert_eq!(talk.next().unwrap().unwrap(), b"hello");
    drop(connection);
    assert!(pool.try_get().is_none(), "the talk goes on on it");
    assert!(talk.send(b"still".to_vec()));
    assert_eq!(talk.next().unwrap().unwrap(), b"still");
    drop(talk);
    let connection = pool.try_get().expect("nobody has it");

    // With stubs, and one attempt each.
    let letters = |channel: &grpcio::Channel, option| {
        Client::new(channel.clone()).server_streaming(&LETTERS, &b"xy".to_vec(), option)
    };
    let said = connection.stream_with("/test.Echo/Letters", &options, letters).unwrap();
    assert_eq!(all(said).0, "xy");
    let mut upload = connection
        .upload_with("/test.Echo/Join", &options, |channel, option| {
            Client::new(channel.clone()).client_streaming(&JOIN, option)
        })
        .unwrap();
    assert!(upload.send(b"c".to_vec()));
    assert_eq!(upload.finish().unwrap(), b"c");
    let mut talk = connection
        .duplex_with("/test.Echo/Talk", &options, |channel, option| {
            Client::new(channel.clone()).duplex_streaming(&TALK, option)
        })
        .unwrap();
    assert!(talk.send(b"z".to_vec()));
    assert_eq!(talk.next().unwrap().unwrap(), b"z");
    talk.finish_sending();
    assert!(talk.next().is_none());
    let calls = echo.calls();
    echo.script(&[DOWN]);
    let idempotent = options.clone().idempotent();
    let (_, error) = all(connection.stream(&LETTERS, &Vec::new(), &idempotent).unwrap());
    assert_eq!((error.unwrap().attempts, echo.calls()), (1, calls + 1));
    drop(connection);
    assert_eq!(pool.metrics().lent, 0);
}

#[test]
fn an_upload_is_answered_once() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    let options = CallOptions::new();
    let mut upload = pool.upload(&JOIN, &options).unwrap();
    for part in ["a", "b", "c"] {
        assert!(upload.send(part.into()));
    }
    assert_eq!(upload.finish().unwrap(), b"abc");
    // The server may have enough before the client has told all.
    let mut upload = pool
        .upload_with("/test.Echo/Join", &options, |channel, option| {
            Client::new(channel.clone()).client_streaming(&JOIN, option)
        })
        .unwrap();
    assert!(upload.send(b"a".to_vec()));
    upload.send(Vec::new());
    eventually("the call has ended", || !upload.send(b"late".to_vec()));
    assert_eq!(upload.finish().unwrap(), b"a");
    echo.script(&[DOWN]);
    let mut upload = pool.upload(&JOIN, &options.clone().idempotent()).unwrap();
    assert!(upload.send(b"a".to_vec()));
    let error = upload.finish().unwrap_err();
    assert!(matches!(&error, Error::Rpc(error) if error.attempts == 1), "{error}");
    drop(pool.upload(&JOIN, &options).unwrap());
    assert_eq!(pool.metrics().lent, 0);
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own thread, joined.
fn a_talk_goes_both_ways_on_one_thread_or_on_two() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    let options = CallOptions::new().timeout(PATIENCE);
    let mut talk = pool.duplex(&TALK, &options).unwrap();
    for word in ["one", "two"] {
        assert!(talk.send(word.into()));
        assert_eq!(talk.next().unwrap().unwrap(), word.as_bytes());
    }
    talk.finish_sending();
    assert!(!talk.send(b"late".to_vec()) && talk.next().is_none() && talk.next().is_none());
    let talk = pool
        .duplex_with("/test.Echo/Talk", &options, |channel, option| {
            Client::new(channel.clone()).duplex_streaming(&TALK, option)
        })
        .unwrap();
    let (outbox, messages) = talk.split();
    let sending = std::thread::spawn(move || {
        let mut outbox = outbox.unwrap();
        (0..100).for_each(|_| assert!(outbox.send(b"x".to_vec())));
        outbox.finish();
    });
    assert_eq!(all(messages).0, "x".repeat(100));
    sending.join().unwrap();
    // The reader's end is the end of all.
    let (outbox, messages) = pool.duplex(&TALK, &options).unwrap().split();
    drop(messages);
    let mut outbox = outbox.unwrap();
    eventually("the call has ended", || !outbox.send(b"x".to_vec()));
    assert_eq!(pool.metrics().lent, 0);
}
