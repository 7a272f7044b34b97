//! `[[receiver]]` from TOML: the keys of its kind stand beside those that all have.

use super::option::{Options, finish, read_open};
use super::receivers::*;
use super::section::Section;

pub fn receiver(section: Section<'_>) -> Receiver {
    let mut receiver: Receiver = read_open(&section);
    receiver.way = way(&section);
    finish(section, Receiver::SECTION);
    receiver
}

fn way(section: &Section<'_>) -> Way {
    // Without a kind no key can be asked for; none is then complained about.
    let kinds = [("command", 0), ("webhook", 1), ("mail", 2)];
    match section.required("kind").and_then(|n| n.choice(&kinds)) {
        Some(1) => Way::Webhook(read_open(section)),
        Some(2) => Way::Mail(read_open(section)),
        Some(_) => Way::Command(read_open(section)),
        None => {
            section.accept_everything();
            section.is_broken_at("command");
            Way::Command(CommandWay::default())
        }
    }
}
