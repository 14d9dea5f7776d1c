//! The objects of an instance whose volume is being built: as far as one comes where nobody runs pods.

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::operator::desired::{Policy, Wanted, desired};
use dhis2_operator::operator::generate::generate;
use dhis2_operator::operator::instance::Stage;
use dhis2_operator::operator::observe::Observed;
use dhis2_operator::operator::parse::assume;
use dhis2_operator::operator::settings::Settings;
use serde_json::{Map, Value};

use crate::site::Outcome;

/// What is wanted of a resource.
///
/// # Errors
/// When the operator would refuse it.
pub fn wanted(resource: &Dhis2Instance, settings: &Settings) -> Outcome<Vec<Wanted>> {
    let refused = |refusal: dhis2_operator::operator::parse::Refusal| refusal.message;
    let mut instance = assume(resource, &Observed::default(), settings).map_err(refused)?;
    instance.stage = Stage { prepared: true, ..Stage::default() };
    Ok(desired(&instance))
}

/// A wish as it is sent the first time: a Secret with its generated content.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn sent(wish: &Wanted) -> Outcome<Value> {
    let mut object = wish.stamped();
    if let (Policy::Generate(values), Some(fields)) = (&wish.policy, object.as_object_mut()) {
        let content =
            values.iter().map(|value| Ok((value.key.to_owned(), generate(value.value).map_err(|error| error.to_string())?.into())));
        fields.insert("stringData".to_owned(), Value::Object(content.collect::<Result<Map<_, _>, String>>()?));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::crowd;
    use dhis2_operator::operator::kind::Kind;

    #[test]
    fn an_instance_comes_as_far_as_its_first_job() {
        let wanted = wanted(&crowd::instance(7).unwrap(), &Settings::default()).unwrap();
        assert_eq!(wanted.iter().filter(|wish| wish.kind == Kind::Job).count(), 1);
        assert_eq!(wanted.last().unwrap().kind, Kind::Job);
        let secret = wanted.iter().find(|wish| wish.kind == Kind::Secret).unwrap();
        assert!(!sent(secret).unwrap()["stringData"].as_object().unwrap().is_empty());
    }
}
