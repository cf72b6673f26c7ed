//! Makes a failing plan smaller, by leaving steps out.

use crate::plan::Plan;

/// Runs that making one plan smaller may take.
const RUNS_MAX: usize = 300;

/// A plan that `fails` as well, with as few of the steps as can be found in a bounded time: halves
/// are left out, then quarters, and so on (Zeller and Hildebrandt, "Simplifying and Isolating
/// Failure-Inducing Input", 2002).
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    let mut runs = 0;
    let mut parts = 2;
    while parts <= smallest.steps.len() {
        let len = smallest.steps.len().div_ceil(parts);
        let mut is_smaller = false;
        let mut from = 0;
        while from < smallest.steps.len() {
            if runs == RUNS_MAX {
                return smallest;
            }
            runs += 1;
            let mut candidate = smallest.clone();
            let end = candidate.steps.len().min(from + len);
            candidate.steps.drain(from..end);
            if fails(&candidate) {
                smallest = candidate;
                is_smaller = true;
            } else {
                from = end;
            }
        }
        if len == 1 && !is_smaller {
            break;
        }
        parts = (parts * 2).min(smallest.steps.len().max(2));
    }
    smallest
}

#[test]
fn what_does_not_matter_is_left_out() {
    use crate::plan::Event;

    let plan = Plan::draw(3);
    let crashes = |plan: &Plan| {
        let starts = |event: &Event| matches!(event, Event::StartNode { node: 0 });
        let inserts = |event: &Event| matches!(event, Event::Insert { client: 1, .. });
        plan.steps.iter().any(|step| starts(&step.event))
            && plan.steps.iter().any(|step| inserts(&step.event))
    };
    assert!(crashes(&plan));
    let smallest = shrink(&plan, crashes);
    assert!(crashes(&smallest));
    assert_eq!(smallest.steps.len(), 2);
}
