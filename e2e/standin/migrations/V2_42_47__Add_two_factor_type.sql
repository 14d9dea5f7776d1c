alter table userinfo add column twofactortype varchar(30) not null default 'NOT_ENABLED';
alter table userinfo add column emailverificationtoken varchar(255);
create unique index in_userinfo_uid on userinfo (uid);
