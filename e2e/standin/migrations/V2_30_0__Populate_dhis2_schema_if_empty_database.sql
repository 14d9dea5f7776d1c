-- Tables, columns and keys carry DHIS2's names; columns that nothing here reads are left out.
create sequence hibernate_sequence;

create table userrole (
    userroleid bigint primary key,
    uid varchar(11) not null unique,
    code varchar(50) unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    name varchar(230) not null unique,
    description varchar(255)
);
create table userroleauthorities (
    userroleid bigint not null references userrole,
    authority varchar(255) not null,
    primary key (userroleid, authority)
);
create table userinfo (
    userinfoid bigint primary key,
    uid varchar(11) not null unique,
    code varchar(50) unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    surname varchar(160),
    firstname varchar(160),
    email varchar(160),
    username varchar(255) not null unique,
    password varchar(60),
    passwordlastupdated timestamp,
    lastlogin timestamp,
    disabled boolean not null default false,
    externalauth boolean not null default false
);
create table userrolemembers (
    userid bigint not null references userinfo,
    userroleid bigint not null references userrole,
    primary key (userid, userroleid)
);
create table previouspasswords (
    userid bigint not null references userinfo,
    list_index integer not null,
    previouspassword text,
    primary key (userid, list_index)
);
create table usersetting (
    userinfoid bigint not null references userinfo,
    name varchar(255) not null,
    value bytea,
    primary key (userinfoid, name)
);
create table systemsetting (
    systemsettingid bigint primary key,
    name varchar(255) not null unique,
    value text,
    translations jsonb
);
create table configuration (
    configurationid integer primary key,
    systemid varchar(255)
);
create table apitoken (
    apitokenid bigint primary key,
    uid varchar(11) not null unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    createdby bigint not null references userinfo,
    type varchar(50) not null,
    expire bigint not null,
    key varchar(128) not null unique
);
create table fileresource (
    fileresourceid bigint primary key,
    uid varchar(11) not null unique,
    code varchar(50) unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    name varchar(230) not null,
    contenttype varchar(255) not null,
    contentlength bigint not null,
    contentmd5 varchar(32) not null,
    storagekey varchar(1024) not null unique,
    isassigned boolean not null default false,
    domain varchar(40),
    hasmultiplestoragefiles boolean not null default false
);
create table icon (
    iconkey varchar(100) primary key,
    description text,
    keywords jsonb,
    fileresourceid bigint not null references fileresource,
    custom boolean not null default true
);
create table document (
    documentid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null,
    url text not null,
    fileresource bigint references fileresource
);
create table organisationunit (
    organisationunitid bigint primary key,
    uid varchar(11) not null unique,
    code varchar(50) unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    name varchar(230) not null,
    shortname varchar(50) not null,
    parentid bigint references organisationunit,
    path varchar(255) unique,
    hierarchylevel integer,
    openingdate date,
    geometry geometry(geometry, 4326)
);
create index in_organisationunit_path on organisationunit (path varchar_pattern_ops);
create table orgunitlevel (
    orgunitlevelid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null,
    level integer not null unique
);
create table categorycombo (
    categorycomboid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null unique,
    datadimensiontype varchar(255) not null
);
create table categoryoptioncombo (
    categoryoptioncomboid bigint primary key,
    uid varchar(11) not null unique,
    name text,
    categorycomboid bigint not null references categorycombo
);
create table dataelement (
    dataelementid bigint primary key,
    uid varchar(11) not null unique,
    code varchar(50) unique,
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    name varchar(230) not null,
    shortname varchar(50) not null,
    valuetype varchar(50) not null,
    domaintype varchar(255) not null,
    aggregationtype varchar(50) not null,
    categorycomboid bigint not null references categorycombo
);
create table dataset (
    datasetid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null,
    periodtypeid bigint not null
);
create table datasetelement (
    datasetelementid bigint primary key,
    datasetid bigint not null references dataset,
    dataelementid bigint not null references dataelement,
    unique (datasetid, dataelementid)
);
create table periodtype (
    periodtypeid bigint primary key,
    name varchar(50) unique
);
create table period (
    periodid bigint primary key,
    periodtypeid bigint references periodtype,
    startdate date not null,
    enddate date not null,
    unique (periodtypeid, startdate, enddate)
);
create table datavalue (
    dataelementid bigint not null references dataelement,
    periodid bigint not null references period,
    sourceid bigint not null references organisationunit,
    categoryoptioncomboid bigint not null references categoryoptioncombo,
    attributeoptioncomboid bigint not null references categoryoptioncombo,
    value varchar(50000),
    storedby varchar(255),
    created timestamp not null default now(),
    lastupdated timestamp not null default now(),
    comment varchar(50000),
    followup boolean,
    deleted boolean not null default false,
    primary key (dataelementid, periodid, sourceid, categoryoptioncomboid, attributeoptioncomboid)
);
create index in_datavalue_lastupdated on datavalue (lastupdated);
create table jobconfiguration (
    jobconfigurationid bigint primary key,
    uid varchar(11) not null unique,
    created timestamp not null,
    lastupdated timestamp not null,
    name varchar(230) not null unique,
    jobtype varchar(120) not null,
    cronexpression varchar(255),
    delay integer,
    jobstatus varchar(120) not null,
    lastexecutedstatus varchar(120) not null,
    lastexecuted timestamp,
    enabled boolean not null,
    leaderonlyjob boolean not null default false,
    queueposition integer,
    executedby varchar(11),
    jsonbjobparameters jsonb
);
create table trackedentitytype (
    trackedentitytypeid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null
);
create table trackedentity (
    trackedentityid bigint primary key,
    uid varchar(11) not null unique,
    created timestamp not null default now(),
    organisationunitid bigint not null references organisationunit,
    trackedentitytypeid bigint references trackedentitytype,
    deleted boolean not null default false,
    geometry geometry(geometry, 4326)
);
create table trackedentityattribute (
    trackedentityattributeid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null unique,
    valuetype varchar(50) not null,
    confidential boolean not null default false
);
create table trackedentityattributevalue (
    trackedentityid bigint not null references trackedentity,
    trackedentityattributeid bigint not null references trackedentityattribute,
    created timestamp not null default now(),
    value varchar(1200),
    encryptedvalue varchar(50000),
    primary key (trackedentityid, trackedentityattributeid)
);
create index in_trackedentityattributevalue_value on trackedentityattributevalue using gin (value gin_trgm_ops);
create table program (
    programid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null,
    type varchar(255) not null
);
create table enrollment (
    enrollmentid bigint primary key,
    uid varchar(11) not null unique,
    programid bigint not null references program,
    trackedentityid bigint references trackedentity,
    organisationunitid bigint references organisationunit,
    enrollmentdate timestamp not null,
    status varchar(50) not null
);
create table event (
    eventid bigint primary key,
    uid varchar(11) not null unique,
    programid bigint not null references program,
    enrollmentid bigint references enrollment,
    organisationunitid bigint references organisationunit,
    occurreddate timestamp,
    status varchar(25) not null,
    eventdatavalues jsonb not null default '{}',
    geometry geometry(geometry, 4326)
);
create index in_event_programid on event using gin (programid, status gin_trgm_ops);
create table sqlview (
    sqlviewid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null unique,
    sqlquery text not null,
    type varchar(40) not null
);
create table keyjsonvalue (
    keyjsonvalueid bigint primary key,
    uid varchar(11) not null unique,
    namespace varchar(255) not null,
    namespacekey varchar(255) not null,
    jbvalue jsonb,
    encrypted_value text,
    unique (namespace, namespacekey)
);
create table route (
    routeid bigint primary key,
    uid varchar(11) not null unique,
    name varchar(230) not null unique,
    url text not null,
    auth jsonb
);
