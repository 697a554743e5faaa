//! Less work for Postgres a person. What hangs on them is written by one transaction together with them, by us alone, under
//! the commit lock: a foreign key would ask for every row once more whether the person is there, a fifth of all its time.
//! What a person's going takes along, and that no role goes that somebody has, is seen to by triggers instead.
//!
//! Room on the pages lets a change that touches no indexed column leave every index as it is.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000019_lighter_people",
    up: &[
        "pg:create function remove_sides() returns trigger language plpgsql set search_path from current as $$
        begin
            delete from user_profiles where user_id in (select id from gone);
            delete from user_settings where user_id in (select id from gone);
            delete from user_metadata where user_id in (select id from gone);
            delete from email_addresses where user_id in (select id from gone);
            delete from federated_identities where user_id in (select id from gone);
            delete from user_roles where user_id in (select id from gone);
            return null;
        end $$",
        "pg:create trigger users_sides after delete on users referencing old table as gone
            for each statement execute function remove_sides()",
        "pg:create function keep_role() returns trigger language plpgsql set search_path from current as $$
        begin
            if exists (select 1 from user_roles where role_id = old.id) then
                raise foreign_key_violation using message = 'somebody has this role';
            end if;
            return old;
        end $$",
        "pg:create trigger roles_in_use before delete on roles for each row execute function keep_role()",
        "pg:alter table user_profiles drop constraint user_profiles_user_id_fkey",
        "pg:alter table user_settings drop constraint user_settings_user_id_fkey",
        "pg:alter table user_metadata drop constraint user_metadata_user_id_fkey",
        "pg:alter table email_addresses drop constraint email_addresses_user_id_fkey",
        "pg:alter table federated_identities drop constraint federated_identities_user_id_fkey",
        "pg:alter table user_roles drop constraint user_roles_user_id_fkey, drop constraint user_roles_role_id_fkey",
        "pg:alter table users set (fillfactor = 80)",
        "pg:alter table subjects set (fillfactor = 80)",
    ],
    down: &[
        "pg:alter table subjects reset (fillfactor)",
        "pg:alter table users reset (fillfactor)",
        "pg:alter table user_roles add constraint user_roles_role_id_fkey foreign key (role_id) references roles (id),
            add constraint user_roles_user_id_fkey foreign key (user_id) references users (id) on delete cascade",
        "pg:alter table federated_identities add constraint federated_identities_user_id_fkey
            foreign key (user_id) references users (id) on delete cascade",
        "pg:alter table email_addresses add constraint email_addresses_user_id_fkey
            foreign key (user_id) references users (id) on delete cascade",
        "pg:alter table user_metadata add constraint user_metadata_user_id_fkey
            foreign key (user_id) references users (id) on delete cascade",
        "pg:alter table user_settings add constraint user_settings_user_id_fkey
            foreign key (user_id) references users (id) on delete cascade",
        "pg:alter table user_profiles add constraint user_profiles_user_id_fkey
            foreign key (user_id) references users (id) on delete cascade",
        "pg:drop trigger roles_in_use on roles",
        "pg:drop function keep_role()",
        "pg:drop trigger users_sides on users",
        "pg:drop function remove_sides()",
    ],
};
