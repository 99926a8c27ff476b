//! Who is refused while an app is in trouble, and who is held.

use std::time::Duration;

use crate::app::clock::{self, Millis};
use crate::app::{App, Denied, Trouble, TroubleKind};

fn outcome(kind: TroubleKind, retry_at: Millis) -> Denied {
    let app = App::new("a");
    app.set_trouble(Some(Trouble { kind, why: "why".into(), refuse: true, retry_at }));
    match app.queue(0) {
        Err(denied) => denied,
        Ok(_) => panic!("there is no place"),
    }
}

#[test]
fn who_comes_when_the_next_attempt_is_due_is_not_refused() {
    let (past, later) = (Millis(0), clock::coarse().after(Duration::from_mins(1)));
    assert_eq!(outcome(TroubleKind::StartFailed, past), Denied::QueueFull, "it would be held");
    assert!(matches!(outcome(TroubleKind::StartFailed, later), Denied::Trouble(_)));
    assert!(matches!(outcome(TroubleKind::ShuttingDown, past), Denied::Trouble(_)));
}
