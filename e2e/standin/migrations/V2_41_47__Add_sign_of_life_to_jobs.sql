alter table jobconfiguration add column lastalive timestamp;
alter table jobconfiguration add column lastfinished timestamp;
alter table jobconfiguration add column schedulingtype varchar(12) not null default 'CRON';
