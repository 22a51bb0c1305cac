//! Many processes at once on a cold store: they fetch, build and collect, and some are killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use super::check::Contents;
use super::site::{Site, Verb, folder};
use super::world::{ROLES, World};
use crate::common::value::Sha256;

/// Number of processes in a round.
const PROCESSES: usize = 32;
/// Longer than any round takes on a slow host: a process that is not done by then is stuck.
const PATIENCE: Duration = Duration::from_secs(600);
/// Duration of the rounds; this variable sets a longer one, in seconds.
const SECONDS: &str = "KBAKE_TEST_CROWD_SECONDS";
const SHORT: Duration = Duration::from_secs(20);

/// Pseudorandom numbers, the same in every run.
struct Dice(String, u32);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.1 += 1;
        let digest = Sha256::of(format!("{} {}", self.0, self.1)).to_string();
        u64::from_str_radix(&digest[..12], 16).unwrap() % end
    }
}

/// One process of a round.
struct Member {
    child: Child,
    verb: Verb,
    end: End,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ends by itself.
    Own,
    /// It is killed before this change of the disk, if it gets there.
    Change(u32),
    /// It is killed so long after the start of the round, if it still runs.
    Time(Duration),
}

impl End {
    fn of(dice: &mut Dice, n: usize) -> End {
        // The first ones do the work, the others mostly wait for them.
        match (n, dice.below(8)) {
            (0..4, 0..4) => End::Change(dice.below(200) as u32),
            (_, 0) => End::Change(dice.below(40) as u32),
            (_, 1 | 2) => End::Time(Duration::from_millis(dice.below(600))),
            _ => End::Own,
        }
    }
}

/// The action of a round beside fetching and building.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Quiet,
    Deadly,
    Collecting,
    Both,
}

fn verb(dice: &mut Dice, mood: Mood) -> Verb {
    if matches!(mood, Mood::Collecting | Mood::Both) && dice.below(10) == 0 {
        return Verb::Gc;
    }
    let first = dice.below(ROLES.len() as u64) as usize;
    let count = 1 + dice.below(ROLES.len() as u64) as usize;
    let roles: Vec<String> = (0..count).map(|n| ROLES[(first + n) % ROLES.len()].to_owned()).collect();
    if dice.below(3) == 0 { Verb::Fetch(roles) } else { Verb::Build(roles) }
}

fn round(seed: u64, right: &Contents) -> String {
    let mood = [Mood::Quiet, Mood::Deadly, Mood::Collecting, Mood::Both][(seed % 4) as usize];
    let mut dice = Dice(format!("round {seed}"), 0);
    let when = format!("round {seed}, {mood:?}");
    let world = World::of("first");
    let (server, dir) = (world.serve(), folder());
    world.settle(&dir.path().join("project"));
    let site = Site { jobs: 1 + dice.below(4) as usize, ..Site::new(dir.path(), &server) };
    let mut members: Vec<Member> = (0..PROCESSES)
        .map(|n| {
            let verb = verb(&mut dice, mood);
            let end = if matches!(mood, Mood::Deadly | Mood::Both) { End::of(&mut dice, n) } else { End::Own };
            let steps = if let End::Change(steps) = end { steps } else { u32::MAX };
            Member { child: site.spawn(&verb, steps, if dice.below(2) == 0 { "kill" } else { "torn" }), verb, end }
        })
        .collect();
    wait(&mut members, &when);
    let mut killed = 0;
    for Member { child, verb, end } in members {
        let output = child.wait_with_output().unwrap();
        match output.status.signal() {
            Some(9) if end != End::Own => killed += 1,
            _ => assert!(output.status.success(), "{when}: {verb:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)),
        }
    }

    let found = Contents::of(&site, &when);
    for (name, text) in &found.actions {
        assert_eq!(right.actions.get(name), Some(text), "{when}: {name}");
    }
    for (role, digest) in &found.images {
        assert_eq!(right.images.get(role), Some(digest), "{when}: the image of {role}");
    }
    // A killed process loses at most one download.
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    server.requests().into_iter().for_each(|request| *asked.entry(request.path).or_default() += 1);
    for (path, count) in &asked {
        assert!(*count <= 1 + killed, "{when}: {path} was asked for {count} times, and {killed} processes were killed");
    }
    let all = Verb::Build(ROLES.map(str::to_owned).into());
    site.run(&all).unwrap_or_else(|e| panic!("{when}: the next run fails: {e}"));
    let settled = Contents::settled(&site, &when);
    assert_eq!(settled.images, right.images, "{when}");
    assert!(settled.actions == right.actions, "{when}: other entries than an undisturbed run leaves");
    format!("{mood:?}: {killed} killed, {} requests for {} things", asked.values().sum::<usize>(), asked.len())
}

fn is_running(member: &mut Member) -> bool {
    member.child.try_wait().unwrap().is_none()
}

/// Waits until all are done. Reports a process that waits for ever.
fn wait(members: &mut [Member], when: &str) {
    let begun = Instant::now();
    loop {
        let running: Vec<&mut Member> = members.iter_mut().filter_map(|member| is_running(member).then_some(member)).collect();
        if running.is_empty() {
            return;
        }
        if begun.elapsed() <= PATIENCE {
            for member in running {
                if matches!(member.end, End::Time(time) if begun.elapsed() >= time) {
                    member.child.kill().unwrap();
                }
            }
        } else {
            let mut shown = format!("{when}: {} processes are not done\n", running.len());
            for member in running {
                let (id, verb) = (member.child.id(), &member.verb);
                let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
                let _ = writeln!(shown, "{id} {verb:?} {:?} in {}", member.end, read("wchan"));
                for fd in fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten() {
                    let _ = writeln!(shown, "  has {}", fs::read_link(fd.path()).unwrap_or_default().display());
                }
                let _ = member.child.kill();
            }
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            panic!("{shown}{locks}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn many_processes_at_once_get_the_same_and_ask_once() {
    let world = World::of("first");
    let (server, dir) = (world.serve(), folder());
    world.settle(&dir.path().join("project"));
    let site = Site::new(dir.path(), &server);
    site.run(&Verb::Build(ROLES.map(str::to_owned).into())).unwrap();
    let right = Contents::settled(&site, "undisturbed");
    let long = std::env::var(SECONDS).ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let begun = Instant::now();
    let mut rounds = 0;
    // Each mood at least once, however slow the host is.
    while rounds < 4 || begun.elapsed() < long.unwrap_or(SHORT) {
        let told = round(rounds, &right);
        println!("round {rounds}, after {:.1} s: {told}", begun.elapsed().as_secs_f32());
        rounds += 1;
    }
}
