create table singleevent (like event including all);
alter table singleevent drop column enrollmentid;
create table trackerevent (like event including all);

insert into singleevent (eventid, uid, programid, organisationunitid, occurreddate, status, eventdatavalues, geometry)
select e.eventid, e.uid, e.programid, e.organisationunitid, e.occurreddate, e.status, e.eventdatavalues, e.geometry
from event e join program p using (programid) where p.type = 'WITHOUT_REGISTRATION';

insert into trackerevent
select e.* from event e join program p using (programid) where p.type <> 'WITHOUT_REGISTRATION';

-- Fails on an event without date in a program without registration, as DHIS2's does.
alter table singleevent alter column occurreddate set not null;
alter table singleevent add foreign key (programid) references program;
alter table trackerevent add foreign key (programid) references program;
alter table trackerevent add foreign key (enrollmentid) references enrollment;
drop table event;
