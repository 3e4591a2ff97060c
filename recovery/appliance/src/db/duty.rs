//! Table `person_duty`: what people are in the words of runbooks.

use super::{Conn, DbError, query, sql};

/// The duties of a person, by name.
pub async fn of(conn: &mut Conn, person: &str) -> Result<Vec<String>, DbError> {
    let rows = query("SELECT duty FROM person_duty WHERE person = $1 ORDER BY duty");
    rows.bind(person).fetch_all(conn).await?.iter().map(|row| row.try_get("duty")).collect()
}

/// Give these and take all others away.
pub async fn set(conn: &mut Conn, person: &str, duties: &[String], by: &str, at: u64) -> Result<(), DbError> {
    query("DELETE FROM person_duty WHERE person = $1").bind(person).execute(conn).await?;
    for duty in duties {
        query("INSERT INTO person_duty (person, duty, given, given_by) VALUES ($1, $2, $3, $4)")
            .bind(person)
            .bind(duty)
            .bind(sql(at))
            .bind(by)
            .execute(conn)
            .await?;
    }
    Ok(())
}
