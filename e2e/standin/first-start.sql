-- Identifiers are the ones that every DHIS2 begins with.
insert into userrole (userroleid, uid, code, name, description) values (51, 'yrB6vc5Ip3r', 'Superuser', 'Superuser', 'Superuser');
insert into userroleauthorities select 51, unnest(array['ALL', 'F_SYSTEM_SETTING', 'F_PERFORM_MAINTENANCE', 'F_USER_ADD', 'F_USER_VIEW', 'F_USERROLE_PUBLIC_ADD']);
insert into categorycombo values (52, 'bjDvmb4bfuf', 'default', 'DISAGGREGATION');
insert into categoryoptioncombo values (53, 'HllvX50cXC0', 'default', 52);
insert into periodtype select nextval('hibernate_sequence') + 100, unnest(array['Daily', 'Weekly', 'Monthly', 'Quarterly', 'Yearly']);
insert into jobconfiguration (jobconfigurationid, uid, created, lastupdated, name, jobtype, cronexpression, jobstatus, lastexecutedstatus, enabled)
select nextval('hibernate_sequence') + 100, uid, now(), now(), name, jobtype, cron, 'SCHEDULED', 'NOT_STARTED', true from (values
    ('sHMedQF7VYa', 'Housekeeping', 'HOUSEKEEPING', '0 0 2 ? * *'),
    ('pd6O228pqr0', 'File resource clean up', 'FILE_RESOURCE_CLEANUP', '0 0 2 ? * *'),
    ('BFa3jDsbtdO', 'Data statistics', 'DATA_STATISTICS', '0 0 2 ? * *'),
    ('Js3vHn2AVuG', 'Validation result notification', 'VALIDATION_RESULTS_NOTIFICATION', '0 0 7 ? * *'),
    ('uwWCT2BMmlq', 'Remove expired or used reserved values', 'REMOVE_USED_OR_EXPIRED_RESERVED_VALUES', '0 0 2 ? * *')
) jobs (uid, name, jobtype, cron);
select setval('hibernate_sequence', 1000);
