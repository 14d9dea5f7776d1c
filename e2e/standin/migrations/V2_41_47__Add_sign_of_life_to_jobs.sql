alter table jobconfiguration add column lastalive timestamp;
alter table jobconfiguration add column lastfinished timestamp;
alter table jobconfiguration add column schedulingtype varchar(12) not null default 'ONCE_ASAP';
alter table jobconfiguration add column cancel boolean not null default false;
alter table jobconfiguration add column progress jsonb;
update jobconfiguration set schedulingtype = 'CRON' where cronexpression is not null;
