//! Random reloads of the running service, and what operators do between them: after each, what is
//! in force is compared with a model. Bad files in between change nothing.

mod model;

use connection_pool_manager::client::service::{text_at, Client};
use connection_pool_manager::proto::admin::{
    GetTenantRequest, ListTenantsRequest, ReloadRequest, RemoveTenantRequest, ResizeTenantRequest,
};

use crate::harness::sql::one_shot;
use crate::harness::{code, refused, Administered, Operator, Tenant};
use model::{names, token, world, Dice, File, Model, GUESTS, TENANTS};

/// So that a run takes a few seconds.
const RELOADS: usize = 25;
const SEEDS: [u64; 3] = [1, 20, 300];

/// What makes a good file a bad one, and a word of what is said of it.
const BAD: [(&str, &str); 8] = [
    ("[tenants", "config.toml"),
    ("[service]\nprot = 1\n", "twice"),
    ("[tenants.bad]\ndsn = \"host=h user=u\"\n", "must list the identities"),
    ("[tenants.bad]\nhost = \"h\"\nanonymous = true\n", "user is required"),
    ("[tenants.bad]\ndsn = \"host=h user=u\"\nidentities = [\"nobody\"]\n", "nobody"),
    (
        "[tenants.bad]\ndsn = \"host=h user=u\"\nanonymous = true\nmin_connections = 9\n",
        "not below its min_connections",
    ),
    (
        "[tenants.bad]\ndsn = \"host=h user=u\"\nanonymous = true\nmax_connections = 99999\n",
        "max_backends",
    ),
    ("[tenants.bad]\ndsn_file = \"/no/such.dsn\"\nanonymous = true\n", "cannot be read"),
];

struct Run<'a> {
    world: &'a [Tenant],
    service: Administered,
    ops: Operator,
    client: Client,
    model: Model,
}

impl Run<'_> {
    /// Puts a file in force.
    fn reload(&mut self, file: File) {
        self.service.rewrite(&file.text(self.world));
        let asked = ReloadRequest::default();
        self.ops.ask(|stub, option| stub.reload(&asked, option)).unwrap();
        self.model.read(file);
    }

    /// A file that is good but for its end.
    fn reload_bad(&self, file: &File, (end, told): (&str, &str)) {
        self.service.rewrite(&(file.text(self.world) + end));
        let asked = ReloadRequest::default();
        let error = refused(self.ops.ask(|stub, option| stub.reload(&asked, option)));
        assert_eq!(error.reason, "RELOAD_FAILED", "{error}");
        assert!(error.message.contains(told), "{end}: {error}");
    }

    /// An operator gives a tenant another limit, or removes it.
    fn act(&mut self, dice: &mut Dice) {
        let (which, size) = (dice.below(TENANTS), 1 + dice.below(5) as i32);
        let tenant_id = self.world[which].name.clone();
        let is_there = self.model.sizes.contains_key(&which);
        let done = if dice.below(4) == 0 {
            self.model.sizes.remove(&which);
            let asked = RemoveTenantRequest { tenant_id, ..Default::default() };
            self.ops.ask(|stub, option| stub.remove_tenant(&asked, option)).map(drop)
        } else {
            self.model.sizes.entry(which).and_modify(|it| *it = size);
            let asked =
                ResizeTenantRequest { tenant_id, max_connections: size, ..Default::default() };
            self.ops.ask(|stub, option| stub.resize_tenant(&asked, option)).map(drop)
        };
        let reason = done.err().map(|error| error.reason);
        assert_eq!(reason.as_deref(), (!is_there).then_some("TENANT_NOT_FOUND"));
    }

    /// Everything that can be seen of the service is as the model says.
    fn compare(&self) {
        self.compare_list();
        for which in 0..TENANTS {
            self.compare_tenant(which);
            self.compare_access(which);
        }
        self.compare_limit();
    }

    fn compare_list(&self) {
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let asked =
                ListTenantsRequest { page_size: 2, page_token: token, ..Default::default() };
            let page = self.ops.ask(|stub, option| stub.list_tenants(&asked, option)).unwrap();
            listed.extend(page.tenants.into_iter().map(|one| (one.tenant_id, one.max_connections)));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let name = |which: usize| self.world[which].name.clone();
        let sizes = self.model.sizes.iter();
        let mut expected: Vec<_> = sizes.map(|(which, size)| (name(*which), *size)).collect();
        expected.sort();
        assert_eq!(listed, expected);
    }

    /// What is told of a tenant, and what who may use it gets.
    fn compare_tenant(&self, which: usize) {
        let tenant = self.world[which].by_name();
        let asked = GetTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
        let found = self.ops.ask(|stub, option| stub.get_tenant(&asked, option));
        let ops = self.client.with_token("token-of-ops").unwrap();
        let (Some(size), Some(table)) =
            (self.model.sizes.get(&which), self.model.file.tables.get(&which))
        else {
            assert_eq!(refused(found).reason, "TENANT_NOT_FOUND");
            let reason = refused(ops.acquire(&tenant.name, "")).reason;
            assert!(["TENANT_NOT_FOUND", "PERMISSION_DENIED"].contains(&&*reason), "{reason}");
            return;
        };
        let (found, role) = (found.unwrap(), &self.world[table.role].name);
        assert_eq!(found.settings.max_connections, *size);
        assert_eq!((&found.user, &found.database), (role, &tenant.name));
        let expected = table.users.as_ref().map(names);
        assert_eq!(found.anonymous, expected.is_none());
        assert_eq!(sorted(found.identities), sorted(expected.unwrap_or_default()));
        let lease = ops.acquire(&tenant.name, "").unwrap();
        let said = ops.run(&lease.connection_id, &["select current_user::text"]).unwrap();
        assert_eq!(&text_at(&said, 0, 0, 0), role);
        ops.release(&lease.connection_id).unwrap();
    }

    /// Each token of each guest.
    fn compare_access(&self, which: usize) {
        for (guest, held) in (0..GUESTS.len()).flat_map(|guest| [(guest, 0), (guest, 1)]) {
            let client = self.client.with_token(&token(guest, held)).unwrap();
            let reason = client.stats(&self.world[which].name).err().map(|error| error.reason);
            let expected = self.model.refusal(which, guest, held);
            assert_eq!(reason.as_deref(), expected, "{} at tenant {which}", token(guest, held));
        }
    }

    /// A limit of requests.
    fn compare_limit(&self) {
        let Some(which) = self.model.sizes.keys().next() else { return };
        let ops = self.client.with_token("token-of-ops").unwrap();
        let limit = self.model.file.statements;
        let ask =
            |count| ops.execute(&one_shot(&self.world[*which].by_name(), &vec!["select 1"; count]));
        ask(limit).unwrap();
        assert_eq!(refused(ask(limit + 1)).code, code::INVALID_ARGUMENT);
    }
}

fn sorted<T: Into<String>>(names: Vec<T>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
    names.sort();
    names
}

#[test]
fn after_each_of_many_random_reloads_there_is_in_force_what_the_model_says() {
    let world = world();
    for seed in SEEDS {
        println!("seed {seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let first = File::first();
        let service = Administered::with(&[], &first.text(&world));
        let (ops, client) = (service.operator("ops"), service.nameless());
        let mut run = Run { world: &world, service, ops, client, model: Model::of(first) };
        run.compare();
        for n in 0..RELOADS {
            let next = run.model.file.changed(&mut dice);
            println!("seed {seed}, reload {n}: {next:?}");
            if dice.below(3) == 0 {
                run.reload_bad(&next, BAD[dice.below(BAD.len())]);
                run.compare();
            }
            if dice.below(2) == 0 {
                run.act(&mut dice);
                run.compare();
            }
            run.reload(next);
            run.compare();
        }
    }
}
