alter table period add column iso varchar(15);
update period set iso = to_char(startdate, 'YYYYMM');
