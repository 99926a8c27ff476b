//! What the tests run as a replica: one static program, alone in its image. Compiled by `lab.rs` with plain
//! `rustc`. Its arguments say how it behaves; whatever it does, it does when a request asks for it, so that a
//! test decides the moment.
//!
//! - `serve`: answers 200, after printing what the arguments behind it say
//! - `exit N`: ends at once with code N
//! - `exit-when-asked N`: ends with code N at the first request
//! - `eat-when-asked`: takes memory without end from the first request on
//! - `burn`: serves, and keeps a core busy
//! - `list`: prints what is in `/`, and serves
//! - `fail`: ends with code 1, for a HEALTHCHECK

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        ["exit-when-asked", code] => serve(|| std::process::exit(code.parse().unwrap())),
        ["eat-when-asked"] => serve(eat),
        ["burn"] => {
            std::thread::spawn(|| loop {
                std::hint::spin_loop();
            });
            serve(|| {});
        }
        ["list"] => {
            let mut names: Vec<_> =
                std::fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names.iter().for_each(|name| println!("{}", name.to_str().unwrap()));
            serve(|| {});
        }
        ["fail"] => std::process::exit(1),
        ["serve", lines @ ..] => {
            for line in lines {
                println!("out {line}");
                eprintln!("err {line}");
            }
            serve(|| {});
        }
        _ => serve(|| {}),
    }
}

fn serve(when_asked: impl Fn()) {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    for stream in listener.incoming() {
        let mut stream: TcpStream = stream.unwrap();
        if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
            when_asked();
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"));
        }
    }
}

fn eat() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}
