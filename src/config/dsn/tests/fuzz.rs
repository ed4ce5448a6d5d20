//! Inputs drawn from a seed: nothing panics, nothing shows the password, and what
//! a DSN is written out as comes back as the same DSN.

use super::super::*;

/// Nothing in the inputs is spelled like it by chance.
const MARKER: &str = "hunter2";

struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A value with the characters that have a meaning somewhere.
    fn text(&mut self) -> String {
        let characters: Vec<char> =
            " ='\\@:/?&%[],\t\u{b}\u{fc}\u{1f600}0az_A-.+#\"$".chars().collect();
        (0..=self.below(12)).map(|_| characters[self.below(characters.len())]).collect()
    }

    fn pick<T>(&mut self, make: impl FnOnce(&mut Seed) -> T) -> Option<T> {
        self.chance().then(|| make(self))
    }

    fn seconds_to(&mut self, most: u32) -> Option<Duration> {
        self.pick(|seed| Duration::from_secs(seed.below(most as usize) as u64 + 1))
    }

    fn nanos(&mut self) -> Option<Duration> {
        self.pick(|seed| Duration::from_nanos(seed.below(i64::MAX as usize) as u64 + 1))
    }

    fn dsn(&mut self) -> Dsn {
        let names = ["h", "db.example", "::1", "10.0.0.1", "fe80::1%eth0", "\u{fc}"];
        let hosts = (0..=self.below(3))
            .map(|_| {
                let hostaddr = self.pick(|seed| match seed.chance() {
                    true => IpAddr::from([10, 0, 0, seed.below(256) as u8]),
                    false => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, seed.below(65_536) as u16]),
                });
                let host = Some(self.one(&names).to_owned());
                let host = host.filter(|_| hostaddr.is_none() || self.chance());
                HostPort { host, hostaddr, port: self.below(65_535) as u16 + 1 }
            })
            .collect();
        let mut mode = self.one(&[SslMode::Disable, SslMode::Prefer, SslMode::Require]);
        let mut root = self.pick(|seed| RootCert::File(format!("/{}", seed.text())));
        let hosts: Vec<HostPort> = hosts;
        if self.chance() {
            mode = SslMode::VerifyCa;
            root = root.or(Some(RootCert::File("ca.pem".into())));
            if hosts.iter().all(|at| at.host.is_some()) {
                mode = SslMode::VerifyFull;
                root = if self.chance() { Some(RootCert::System) } else { root };
            }
        }
        let strong = mode >= SslMode::Require;
        let user = format!("u{}", self.text());
        Dsn {
            hosts,
            dbname: format!("d{}", self.text()),
            user,
            password: self.pick(|seed| Secret(format!("{MARKER}{}", seed.text()))),
            tls: TlsKeys {
                mode,
                negotiation: match strong && self.chance() {
                    true => SslNegotiation::Direct,
                    false => SslNegotiation::Postgres,
                },
                root,
                client: self.pick(|seed| ClientCert {
                    cert: seed.text(),
                    key: format!("k{}", seed.text()),
                }),
                channel_binding: match strong && self.chance() {
                    true => ChannelBinding::Require,
                    false => ChannelBinding::Disable,
                },
            },
            require_auth: self.pick(|seed| {
                let lists = ["none", "!none", "md5,scram-sha-256", "!password,!md5,!oauth"];
                RequireAuth::parse(seed.one(&lists)).unwrap()
            }),
            target_session: self.one(&[TargetSession::Any, TargetSession::PreferStandby]),
            connect_timeout: self.seconds_to(i32::MAX as u32),
            application_name: self.pick(Seed::text),
            options: self.pick(Seed::text),
            parameters: (0..self.below(3))
                .map(|_| (self.one(&["search_path", "my.app", "timezone"]).into(), self.text()))
                .collect(),
            keepalives: self.chance(),
            keepalives_idle: self.seconds_to(KEEPALIVE_MAX),
            keepalives_interval: self.seconds_to(KEEPALIVE_MAX),
            keepalives_retries: self.pick(|seed| seed.below(PROBES_MAX as usize) as u32 + 1),
            tcp_user_timeout: self
                .pick(|seed| Duration::from_millis(seed.below(i32::MAX as usize) as u64 + 1)),
            pool: PoolKeys {
                max_conns: self.pick(|seed| seed.below(1000) as u32 + 1),
                min_conns: self.pick(|seed| seed.below(1000) as u32),
                max_conn_lifetime: self.nanos(),
                max_conn_idle_time: self.nanos(),
                max_conn_lifetime_jitter: self.nanos(),
                health_check_period: self.nanos(),
                reset: self.pick(|seed| seed.one(&[Reset::Clean, Reset::Close])),
            },
        }
    }
}

/// The same DSN as a URL, everything percent-encoded that can be.
fn url(dsn: &Dsn) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let canonical = dsn.canonical();
    let pairs = keyword_value::pairs(&canonical).unwrap();
    let of = |key: &str| pairs.iter().find(|pair| pair.key == key).map(|pair| encoded(&pair.value));
    let password = of("password").map(|password| format!(":{password}")).unwrap_or_default();
    let query: Vec<String> = pairs
        .iter()
        .filter(|pair| !["user", "password", "dbname"].contains(&&*pair.key))
        .map(|pair| format!("{}={}", pair.key, encoded(&pair.value)))
        .collect();
    let (user, dbname) = (of("user").unwrap(), of("dbname").unwrap());
    format!("postgresql://{user}{password}@/{dbname}?{}", query.join("&"))
}

#[test]
fn what_is_written_out_comes_back_in_both_forms() {
    let mut seed = Seed(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let dsn = seed.dsn();
        let canonical = dsn.canonical();
        assert!(Dsn::parse(&canonical).as_ref() == Ok(&dsn), "{canonical}");
        let shown = format!("{dsn} {dsn:?}");
        assert!(!shown.contains(MARKER), "{shown}");
        let url = url(&dsn);
        // Encoded, everything is three times as long.
        if url.len() <= TEXT_MAX_BYTES {
            assert!(Dsn::parse(&url).as_ref() == Ok(&dsn), "{url}");
        }
    }
}

/// Checks one input; true if it is a DSN.
fn judge(text: &str) -> bool {
    match Dsn::parse(text) {
        Err(error) => {
            assert!(!format!("{error} {error:?}").contains(MARKER), "{text}: {error}");
            false
        }
        Ok(dsn) => {
            let secret = dsn.password.as_ref().is_some_and(|p| p.reveal().contains(MARKER));
            let shown = format!("{dsn} {dsn:?} {}", dsn.target_canonical());
            assert!(!secret || !shown.contains(MARKER), "{text}: {shown}");
            let canonical = dsn.canonical();
            if canonical.len() <= TEXT_MAX_BYTES {
                assert!(Dsn::parse(&canonical).as_ref() == Ok(&dsn), "{text}: {canonical}");
            }
            true
        }
    }
}

#[test]
fn no_mutation_panics_or_shows_the_password() {
    let models = [
        "host=h,i port=1,2 hostaddr=::1, dbname=d user=u password=hunter2 sslmode=require",
        "host=h password='hunter2' user=u options='-c a=b' pool_max_conn_lifetime=1h5m",
        "host=h user=u password=hunter2 sslmode=verify-full sslrootcert=/ca target_session_attrs=any",
        "password = hunter2 host = h user = u sslcert=a sslkey=b my.app='x y' search_path=a\\ b",
        "postgres://u:hunter2@h:1,[::1]:2/d?sslmode=require&application_name=x%20y",
        "postgresql://h/d?user=u&password=hunter2&connect_timeout=5&pool_max_conns=3",
        "postgres://u:hunter2@h/d?sslrootcert=system&search_path=a&my.app=b&sslnegotiation=direct",
    ];
    let mut seed = Seed(0x9e37_79b9_7f4a_7c15);
    let characters: Vec<char> = " ='\\@:/?&%[],\t\0\u{fc}\u{1f600}0az_A-.+".chars().collect();
    let pieces =
        ["%00", "%68", "sslmode=", "password=", "://", "host=", "\\'", "system", "..", "a.b="];
    let mut refused = 0;
    for round in 0..200_000 {
        let mut text: Vec<char> = models[round % models.len()].chars().collect();
        for _ in 0..=seed.below(4) {
            let at = seed.below(text.len());
            match seed.below(5) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, seed.one(&characters)),
                2 => text[at] = seed.one(&characters),
                3 => drop(text.splice(at..at, seed.one(&pieces).chars())),
                _ => text[at..].rotate_left(1),
            }
        }
        refused += usize::from(!judge(&text.into_iter().collect::<String>()));
    }
    assert!(refused > 5_000 && refused < 195_000, "{refused}");
}

#[test]
fn no_noise_panics() {
    let mut seed = Seed(0xd134_2543_de82_ef95);
    let starts = ["", "postgres://", "postgresql://u:hunter2@", "host=h user=u password=hunter2 "];
    for _ in 0..50_000 {
        let mut text = seed.one(&starts).to_owned();
        for _ in 0..seed.below(6) {
            text += &seed.text();
        }
        judge(&text);
    }
}
