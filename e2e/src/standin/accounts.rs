//! Users and their passwords. A user is cached whole when they log in, each login saves the cached user with the time of
//! the login, and so a password that was changed behind the server's back is undone by the next login with the old one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::Error;

use super::dhis2::Dhis2;
use super::passwords;
use super::pool;
use super::refusal::Refusal;

/// Cost of the hashes (`$2a$10$…`, observed).
const COST: u32 = 10;

/// A user as the server holds them in memory.
#[derive(Clone, Debug)]
pub struct Account {
    /// `userinfo.userinfoid`.
    pub id: i64,
    /// `userinfo.uid`.
    pub uid: String,
    /// Name to log in with.
    pub username: String,
    /// Given name and family name.
    pub name: (String, String),
    hash: String,
    disabled: bool,
    authorities: HashSet<String>,
}

impl Account {
    /// # Errors
    /// When the user has neither this authority nor ALL.
    pub fn require(&self, authority: &'static str) -> Result<(), Refusal> {
        if self.is_superuser() || self.authorities.contains(authority) { Ok(()) } else { Err(Refusal::Forbidden(authority)) }
    }

    /// Whether the user may do everything.
    pub fn is_superuser(&self) -> bool {
        self.authorities.contains("ALL")
    }

    /// What the user may do.
    pub fn authorities(&self) -> Vec<&str> {
        let mut authorities: Vec<&str> = self.authorities.iter().map(String::as_str).collect();
        authorities.sort_unstable();
        authorities
    }
}

/// The users in memory.
#[derive(Default)]
pub struct Accounts {
    cached: Mutex<HashMap<String, Account>>,
    failures: Mutex<HashMap<String, u32>>,
}

impl Accounts {
    /// Forgets all users, as clearing the caches does.
    pub fn clear(&self) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts a failed form login and tells how many there were; a success forgets them.
    pub fn count_failure(&self, username: &str, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(username);
            return 0;
        }
        let count = failures.entry(username.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// How many form logins failed since the last success.
    pub fn failures(&self, username: &str) -> u32 {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(username).copied().unwrap_or(0)
    }

    fn cached(&self, username: &str) -> Option<Account> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(username).cloned()
    }

    fn cache(&self, account: &Account) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).insert(account.username.clone(), account.clone());
    }

    fn forget(&self, username: &str) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(username);
    }
}

/// The user of these credentials, if they are right. A success is written to the database with the cached hash.
///
/// # Errors
/// When the database fails.
pub async fn authenticate(dhis2: &Arc<Dhis2>, username: &str, password: &str) -> Result<Option<Account>, Error> {
    let account = match dhis2.accounts.cached(username) {
        Some(account) => Some(account),
        None => load(dhis2, username).await?,
    };
    let Some(account) = account else {
        return Ok(None);
    };
    if account.disabled || !verify(password.to_owned(), account.hash.clone()).await {
        return Ok(None);
    }
    dhis2.accounts.cache(&account);
    let saved = dhis2
        .client()
        .await?
        .execute("update userinfo set lastlogin = now(), password = $2 where userinfoid = $1", &[&account.id, &account.hash])
        .await;
    match saved {
        // A database that can only be read does not keep people out.
        Err(error) if !pool::is_read_only(&error) => Err(error),
        _ => Ok(Some(account)),
    }
}

/// The user of this name as the database has them.
///
/// # Errors
/// When the database fails.
pub async fn load(dhis2: &Arc<Dhis2>, username: &str) -> Result<Option<Account>, Error> {
    const USER: &str = "select userinfoid, uid, username, coalesce(firstname, ''), coalesce(surname, ''), coalesce(password, ''), disabled,
        array(select distinct authority from userrolemembers join userroleauthorities using (userroleid) where userid = userinfoid)
        from userinfo where username = $1";
    let Some(row) = dhis2.client().await?.query_opt(USER, &[&username]).await? else {
        return Ok(None);
    };
    Ok(Some(Account {
        id: row.get(0),
        uid: row.get(1),
        username: row.get(2),
        name: (row.get(3), row.get(4)),
        hash: row.get(5),
        disabled: row.get(6),
        authorities: row.get::<_, Vec<String>>(7).into_iter().collect(),
    }))
}

/// Whether `password` is the account's.
pub async fn is_password(account: &Account, password: &str) -> bool {
    verify(password.to_owned(), account.hash.clone()).await
}

/// Gives a user a new password and ends their sessions.
///
/// # Errors
/// 409 when the rules refuse the password; when the database fails.
pub async fn set_password(dhis2: &Arc<Dhis2>, username: &str, password: &str) -> Result<(), Refusal> {
    let account = load(dhis2, username).await?.ok_or_else(|| Refusal::NotFound(format!("User {username}")))?;
    if let Some(why) = passwords::refusal(password, username) {
        return Err(Refusal::Conflict(why.to_owned()));
    }
    let mut client = dhis2.client().await?;
    let transaction = client.transaction().await?;
    let former =
        transaction.query("select previouspassword from previouspasswords where userid = $1 order by list_index", &[&account.id]).await?;
    let mut former: Vec<String> = former.iter().map(|row| row.get(0)).collect();
    for hash in &former {
        if verify(password.to_owned(), hash.clone()).await {
            let why = format!("Password must not be one of the previous {} passwords", passwords::HISTORY);
            return Err(Refusal::Conflict(why));
        }
    }
    let hash = hash(password).await?;
    former.push(hash.clone());
    let oldest_kept = former.len().saturating_sub(passwords::HISTORY);
    transaction
        .execute(
            "update userinfo set password = $2, passwordlastupdated = now(), lastupdated = now() where userinfoid = $1",
            &[&account.id, &hash],
        )
        .await?;
    transaction.execute("delete from previouspasswords where userid = $1", &[&account.id]).await?;
    for (index, hash) in (0_i32..).zip(former.iter().skip(oldest_kept)) {
        transaction.execute("insert into previouspasswords values ($1, $2, $3)", &[&account.id, &index, hash]).await?;
    }
    transaction.commit().await?;
    dhis2.accounts.forget(username);
    dhis2.sessions.end(username);
    Ok(())
}

/// Forgets a user that was changed through the API and ends their sessions.
pub fn changed(dhis2: &Dhis2, username: &str) {
    dhis2.accounts.forget(username);
    dhis2.sessions.end(username);
}

/// The hash that DHIS2 would store.
///
/// # Errors
/// When hashing fails, which takes a password with a NUL or beyond 72 bytes.
pub async fn hash(password: &str) -> Result<String, Refusal> {
    let password = password.to_owned();
    let hashed = tokio::task::spawn_blocking(move || bcrypt::hash_with_result(password, COST)).await;
    match hashed {
        Ok(Ok(parts)) => Ok(parts.format_for_version(bcrypt::Version::TwoA)),
        Ok(Err(error)) => Err(Refusal::Failed(error.to_string())),
        Err(error) => Err(Refusal::Failed(error.to_string())),
    }
}

async fn verify(password: String, hash: String) -> bool {
    tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await.unwrap_or(false)
}
