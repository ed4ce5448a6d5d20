use std::sync::Arc;

use super::*;
use crate::config::dsn::Dsn;
use crate::config::{Reset, TenantPoolConfig};
use crate::core::access::{Access, IdentityPattern};
use crate::settings::file::parse;

const SALT: Salt = [7; 16];

fn id(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

fn tenant(name: &str, dsn: &str, max_connections: usize) -> TenantConfig {
    let dsn = Dsn::parse(dsn).expect("a DSN");
    let pool =
        TenantPoolConfig { max_connections, min_connections: 0, ..TenantPoolConfig::default() };
    let own = [("max_connections", max_connections.to_string())].into();
    TenantConfig { id: id(name), dsn, pool, own }
}

fn users(names: &[&str], anonymous: bool) -> TenantUsers {
    let identities = names.iter().map(|name| IdentityPattern::parse(name).expect("a pattern"));
    TenantUsers { anonymous, identities: identities.collect() }
}

/// Of these tenants, each open to `shop`.
fn config(tenants: &[TenantConfig]) -> ServerConfig {
    let mut access = Access::default();
    for tenant in tenants {
        access.configure(tenant.id.clone(), users(&["shop"], false));
    }
    let tenants = tenants.iter().map(|tenant| (tenant.id.clone(), tenant.clone())).collect();
    ServerConfig { tenants: Arc::new(tenants), access: Arc::new(access), ..ServerConfig::default() }
}

fn put(tenant: TenantConfig, users: Option<TenantUsers>) -> ChangeKind {
    // Only the configuration has tables.
    let tenant = Box::new(TenantConfig { own: BTreeMap::new(), ..tenant });
    ChangeKind::Put { tenant, users }
}

fn changes(of: Vec<(&str, ChangeKind, Option<Pause>)>) -> RuntimeChanges {
    let of =
        of.into_iter().map(|(name, change, paused)| (id(name), ChangedTenant { change, paused }));
    RuntimeChanges { log_level: None, tenants: of.collect() }
}

fn kept(text: &str, config: &ServerConfig) -> Result<KeptChanges, SettingFaults> {
    resolve::kept(parse("s.toml", text)?, config)
}

fn read_again(changes: &RuntimeChanges, config: &ServerConfig) -> KeptChanges {
    let text = text(changes, config, &SALT);
    kept(&text, config).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

const A: &str = "host=a user=u password=hush1";
const B: &str = "host=b user=u password=hush2";

#[test]
fn every_kind_of_change_is_read_as_it_was_written() {
    let config = config(&[tenant("kept", A, 5), tenant("gone", A, 5), tenant("still", A, 5)]);
    let mut other = tenant("kept", B, 7);
    other.pool.reset = Reset::Close;
    let mut written = changes(vec![
        ("kept", put(other, Some(users(&["ops", "*"], true))), Some(Pause::Refuse)),
        ("gone", ChangeKind::Removed, None),
        ("still", ChangeKind::Same, Some(Pause::Wait)),
        ("new", put(tenant("new", B, 3), Some(users(&["shop"], false))), None),
    ]);
    written.log_level = Some("debug".to_owned());
    let read = read_again(&written, &config);
    assert_eq!((&read.changes, read.dropped), (&written, vec![]));
    let shown: Vec<String> =
        read.shown.iter().map(|(key, what, at)| format!("{key} {what} {at}")).collect();
    assert_eq!(shown[0], "log level s.toml:6");
    assert!(shown.iter().any(|one| one.starts_with("tenants.gone removed s.toml:")), "{shown:?}");
    let kept =
        "tenants.kept dsn, max_connections, reset, identities (anonymous ops *), paused s.toml:";
    assert!(shown.iter().any(|one| one.starts_with(kept)), "{shown:?}");
    for secret in ["hush1", "hush2"] {
        assert!(!format!("{read:?}", read = read.changes).contains(secret));
        assert!(!shown.concat().contains(secret));
    }
}

#[test]
fn nothing_changed_is_a_file_that_says_so() {
    let config = config(&[tenant("a", A, 5)]);
    let read = read_again(&RuntimeChanges::default(), &config);
    assert_eq!(read.changes, RuntimeChanges::default());
}

#[test]
fn what_the_configuration_says_by_now_wins() {
    let before = config(&[tenant("a", A, 5), tenant("b", A, 5), tenant("c", A, 5)]);
    let mut written = changes(vec![
        ("a", put(tenant("a", B, 7), Some(users(&["ops"], false))), Some(Pause::Wait)),
        ("b", ChangeKind::Removed, None),
        ("c", put(tenant("c", A, 9), None), Some(Pause::Wait)),
        ("new", put(tenant("new", B, 3), Some(users(&["shop"], false))), Some(Pause::Wait)),
        ("stays", put(tenant("stays", B, 3), Some(users(&["shop"], false))), None),
    ]);
    written.log_level = Some("debug".to_owned());
    let text = text(&written, &before, &SALT);
    // Another password, another size, one is gone, and one is configured that was created.
    let other = tenant("a", "host=a user=u password=three", 5);
    let mut after = config(&[other, tenant("b", A, 6), tenant("new", A, 1)]);
    after.log_level = "info".to_owned();
    let read = kept(&text, &after).unwrap_or_else(|faults| panic!("{faults}"));
    let stays = changes(vec![
        // As in a reload.
        ("a", ChangeKind::Same, Some(Pause::Wait)),
        ("stays", written.tenants[&id("stays")].change.clone(), None),
    ]);
    assert_eq!(read.changes, stays);
    let dropped: Vec<String> =
        read.dropped.iter().map(|one| format!("{} {}", one.key, one.what)).collect();
    let new = "tenants.new dsn, max_connections, min_connections, identities, paused".to_owned();
    let gone = ["log level", "tenants.a dsn, max_connections, identities", "tenants.b removed"];
    assert_eq!(dropped[..3], gone);
    assert_eq!(dropped[3..], ["tenants.c max_connections, paused".to_owned(), new]);
}

#[test]
fn other_defaults_change_what_was_not_changed_and_drop_nothing() {
    let before = config(&[tenant("a", A, 20)]);
    let mut least = tenant("a", A, 20);
    least.pool.min_connections = 9;
    let mut new = tenant("new", B, 7);
    new.pool.min_connections = 5;
    let shop = || Some(users(&["shop"], false));
    let written = changes(vec![("a", put(least, None), None), ("new", put(new, shop()), None)]);
    let text = text(&written, &before, &SALT);
    let mut after = before.clone();
    after.pool.statement_cache = 3;
    let mut of_file = tenant("a", A, 20);
    (of_file.pool.max_connections, of_file.pool.statement_cache) = (6, 3);
    after.tenants = Arc::new([(id("a"), of_file.clone())].into());
    let read = kept(&text, &after).unwrap_or_else(|faults| panic!("{faults}"));
    // No minimum is above its maximum.
    of_file.pool.min_connections = 6;
    let mut new = tenant("new", B, 7);
    (new.pool.min_connections, new.pool.statement_cache) = (5, 3);
    let holds = changes(vec![("a", put(of_file, None), None), ("new", put(new, shop()), None)]);
    assert_eq!((read.changes, read.dropped), (holds, vec![]));
}

#[test]
fn other_identities_in_the_configuration_win_over_those_that_were_put() {
    let before = config(&[tenant("a", A, 5)]);
    let written = put(tenant("a", A, 7), Some(users(&["ops"], false)));
    let text = text(&changes(vec![("a", written, None)]), &before, &SALT);
    let mut after = before.clone();
    let mut access = Access::default();
    access.configure(id("a"), users(&["shop", "other"], false));
    after.access = Arc::new(access);
    let read = kept(&text, &after).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(read.changes, changes(vec![("a", put(tenant("a", A, 7), None), None)]));
    assert_eq!(read.dropped[0].what, "identities");
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_none() {
    let config = config(&[tenant("a", A, 5)]);
    let written = changes(vec![
        ("a", put(tenant("a", B, 7), None), Some(Pause::Wait)),
        ("new", put(tenant("new", B, 3), Some(users(&["shop"], false))), None),
    ]);
    let text = text(&written, &config, &SALT);
    for end in 0..text.trim_end().len() {
        assert!(kept(&text[..end], &config).is_err(), "{}", &text[..end]);
    }
}

#[test]
fn what_the_service_did_not_write_is_named_with_its_place() {
    let config = config(&[tenant("a", A, 5)]);
    let head = format!("format = 1\nsalt = \"{}\"\n", "07".repeat(16));
    let whole = |table: &str| format!("{head}{table}\n[end]\ntenants = 1\n");
    let digest = configured::of_tenant(&SALT, &config.tenants[&id("a")]);
    for (text, said) in [
        (String::new(), "s.toml:1: must be a file that the service wrote"),
        ("[service]\nport = 1\n".to_owned(), "must be a file that the service wrote"),
        ("format = 2\n".to_owned(), "format (s.toml:1) must be"),
        ("format = 1\nsalt = \"x\"\n".to_owned(), "salt (s.toml:2) must be 32 hexadecimal digits"),
        (format!("{head}[end]\ntenants = 1\n"), "end.tenants (s.toml:4) must be the number"),
        (format!("{head}colour = 1\n[end]\ntenants = 0\n"), "colour (s.toml:3) is not known"),
        (whole("[tenants.a]\nsize = 3"), "tenants.a.size (s.toml:4) is not known"),
        (whole("[tenants.\"a b\"]"), "tenants.a b (s.toml:3) is no name"),
        (whole("[tenants.a]\npaused = \"no\""), "tenants.a.paused (s.toml:4) must be"),
        (whole("[tenants.x]\ndsn = \"hush3 host=\""), "tenants.x.dsn (s.toml:4) must be a DSN"),
        (whole("[tenants.x]\nanonymous = true"), "tenants.x (s.toml:3) must have a dsn"),
        (whole("[tenants.x]\nremoved = true"), "tenants.x (s.toml:3) must be configured"),
        (whole(&format!("[tenants.x]\ndsn = {A:?}")), "tenants.x (s.toml:3) must have identities"),
        (
            whole(&format!("[tenants.a]\nconfigured = \"{digest}\"\nmax_connections = 0")),
            "tenants.a.max_connections (s.toml:5) must be",
        ),
        (
            whole(&format!("[tenants.a]\nconfigured = \"{digest}\"\nconnect_pause = 6")),
            "tenants.a (s.toml:3) is wrong: connect_pause cannot be greater",
        ),
        (format!("{head}[log]\nlevel = \"x\"\n[end]\ntenants = 0\n"), "log (s.toml:3) must have"),
        ("format = \"\u{0}\"".to_owned(), "s.toml:1: "),
    ] {
        let told = kept(&text, &config).err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(told.contains(said), "{told}\n{text}");
        assert!(!told.contains("hush"), "{told}");
    }
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % most
    }

    fn odd_text(&mut self) -> String {
        const ODD: &[char] = &[
            'a',
            '"',
            '\'',
            '\\',
            '\n',
            '\r',
            '\t',
            ' ',
            '=',
            '#',
            '[',
            ']',
            'é',
            '\u{85}',
            '\u{7f}',
            '\u{1b}',
            '\u{feff}',
            '\u{2028}',
            '🦀',
            '\u{10ffff}',
            '%',
        ];
        (0..1 + self.below(12)).map(|_| ODD[self.below(ODD.len())]).collect()
    }
}

#[test]
fn whatever_stands_in_a_dsn_or_a_name_is_read_as_it_was_written() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let dsn = |dice: &mut Dice| {
            let mut pairs = vec![("host", "db".to_owned()), ("user", dice.odd_text())];
            pairs.push(("password", dice.odd_text()));
            pairs.push(("options", dice.odd_text()));
            pairs.push(("dbname", dice.odd_text()));
            pairs.push(("pool_health_check_period", "7200s".to_owned()));
            pairs.push(("pool_max_conn_lifetime", format!("{}ms", 1000 + dice.below(90_000))));
            pairs.push(("pool_max_conn_lifetime_jitter", format!("{}ms", dice.below(900))));
            Dsn::of(pairs).expect("values may be odd")
        };
        let (a, b) = (dsn(&mut dice), dsn(&mut dice));
        let pool = |dsn: &Dsn, dice: &mut Dice| TenantPoolConfig {
            max_connections: 5 + dice.below(90),
            ..TenantPoolConfig::default().with(&dsn.pool)
        };
        let of = |name: &str, dsn: &Dsn, dice: &mut Dice| TenantConfig {
            id: id(name),
            pool: pool(dsn, dice),
            dsn: dsn.clone(),
            own: BTreeMap::new(),
        };
        let config = config(&[of("a", &a, &mut dice), of("b", &b, &mut dice)]);
        let names = [dice.odd_text(), dice.odd_text()];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut written = changes(vec![
            ("a", put(of("a", &b, &mut dice), Some(users(&names, false))), Some(Pause::Wait)),
            ("b", put(TenantConfig { dsn: a, ..config.tenants[&id("b")].clone() }, None), None),
            ("c.d/e@f:g", put(of("c.d/e@f:g", &b, &mut dice), Some(users(&names, true))), None),
        ]);
        written.log_level = (dice.below(2) == 0).then(|| "warn,x=debug".to_owned());
        let read = read_again(&written, &config);
        assert_eq!((read.changes, read.dropped), (written, vec![]), "{seed}");
    }
}
