-- Fails on data that DHIS2's own migration refuses as well: the notes of release 2.42 say to look for it first.
alter table event alter column organisationunitid set not null;
alter table enrollment alter column organisationunitid set not null;
alter table trackedentity alter column trackedentitytypeid set not null;
