//! What every connector must do, whatever it connects to: one suite, run on each database.
//! A new connector needs a [`Place`] here and a line in [`on_every_database`].

#[path = "conformance/describing.rs"]
mod describing;
#[path = "conformance/failing.rs"]
mod failing;
#[path = "conformance/landing.rs"]
mod landing;
#[path = "conformance/place.rs"]
pub mod place;
#[path = "conformance/reading.rs"]
mod reading;
#[path = "conformance/speaking.rs"]
mod speaking;
#[path = "conformance/spelling.rs"]
mod spelling;
#[path = "conformance/transacting.rs"]
mod transacting;
#[path = "conformance/walking.rs"]
mod walking;

/// Makes each named test of a module a test on every database: `conformance::walking::sqlite::…`.
macro_rules! on_every_database {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(&super::Place::sqlite()) })+
        }
        mod mariadb {
            $(#[test] fn $test() { super::$test(&super::Place::mariadb(stringify!($test))) })+
        }
        mod mysql56 {
            $(#[test] fn $test() { super::$test(&super::Place::mysql56(stringify!($test))) })+
        }
        mod oracle12 {
            $(#[test] fn $test() { super::$test(&super::Place::oracle12(stringify!($test))) })+
        }
        mod oracle19 {
            $(#[test] fn $test() { super::$test(&super::Place::oracle19(stringify!($test))) })+
        }
        mod oracle23 {
            $(#[test] fn $test() { super::$test(&super::Place::oracle23(stringify!($test))) })+
        }
    };
}
use on_every_database;
