//! What the model is offered: granted functions under their own names, granted agents as functions.

use serde_json::json;

use crate::bindings::ringfence::agent::agents::AgentInfo;
use crate::bindings::ringfence::agent::models::ToolDefinition;
use crate::bindings::ringfence::agent::tools::Function;

/// Longest name that models take.
const NAME: usize = 64;

/// Where a call of an offered name goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A function, by its name for `tools.call`.
    Function(String),
    /// An agent, by its name for `agents.send`.
    Agent(String),
}

/// Offered names and what stands behind each.
#[derive(Debug, Default)]
pub struct Catalog {
    definitions: Vec<ToolDefinition>,
    targets: Vec<Target>,
}

impl Catalog {
    /// Offers all of these. A function keeps its name where models can take it. An agent becomes
    /// `agent_NAME`; should a tool be called `agent`, the function keeps the name and the agent gets a
    /// number appended.
    pub fn new(functions: Vec<Function>, agents: Vec<AgentInfo>) -> Self {
        let mut catalog = Self::default();
        // Names that need no change are taken first, so that no other one can displace them.
        let (plain, odd): (Vec<_>, Vec<_>) = functions
            .into_iter()
            .partition(|function| is_plain(&function.name));
        for function in plain.into_iter().chain(odd) {
            let name = catalog.free_name(&function.name);
            catalog.offer(
                ToolDefinition {
                    name,
                    description: function.description,
                    parameters: function.input_schema,
                },
                Target::Function(function.name),
            );
        }
        for agent in agents {
            let name = catalog.free_name(&format!("agent_{}", agent.name));
            let description = if agent.description.is_empty() {
                format!("Asks the agent {}.", agent.name)
            } else {
                format!("Asks the agent {}: {}", agent.name, agent.description)
            };
            let parameters = json!({
                "type": "object",
                "properties": {"message": {
                    "type": "string",
                    "description": "What to ask, complete in itself: the agent knows nothing of this conversation.",
                }},
                "required": ["message"],
                "additionalProperties": false,
            });
            catalog.offer(
                ToolDefinition {
                    name,
                    description,
                    parameters: parameters.to_string(),
                },
                Target::Agent(agent.name),
            );
        }
        catalog
    }

    /// Definitions for the model.
    pub fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    /// What an offered name stands for.
    pub fn target(&self, name: &str) -> Option<&Target> {
        let at = self.definitions.iter().position(|d| d.name == name)?;
        self.targets.get(at)
    }

    fn offer(&mut self, definition: ToolDefinition, target: Target) {
        self.definitions.push(definition);
        self.targets.push(target);
    }

    /// `wanted`, made acceptable to models, and unlike every name so far.
    fn free_name(&self, wanted: &str) -> String {
        let clean: String = wanted
            .chars()
            .map(|c| if is_plain_char(c) { c } else { '_' })
            .take(NAME)
            .collect();
        let mut name = clean.clone();
        let mut number = 2;
        while self.target(&name).is_some() {
            let suffix = format!("_{number}");
            name = clean.chars().take(NAME - suffix.len()).collect();
            name.push_str(&suffix);
            number += 1;
        }
        name
    }
}

fn is_plain(name: &str) -> bool {
    (1..=NAME).contains(&name.len()) && name.chars().all(is_plain_char)
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> Function {
        Function {
            name: name.to_owned(),
            description: String::new(),
            input_schema: "{}".to_owned(),
            output_schema: None,
        }
    }

    fn agent(name: &str) -> AgentInfo {
        AgentInfo {
            name: name.to_owned(),
            description: "Knows birds.".to_owned(),
        }
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog
            .definitions()
            .iter()
            .map(|d| d.name.as_str())
            .collect()
    }

    #[test]
    fn an_agent_never_takes_the_name_of_a_function() {
        let catalog = Catalog::new(
            vec![function("agent_birds")],
            vec![agent("birds"), agent("bees")],
        );
        assert_eq!(
            names(&catalog),
            ["agent_birds", "agent_birds_2", "agent_bees"]
        );
        assert_eq!(
            catalog.target("agent_birds"),
            Some(&Target::Function("agent_birds".to_owned()))
        );
        assert_eq!(
            catalog.target("agent_birds_2"),
            Some(&Target::Agent("birds".to_owned()))
        );
        assert_eq!(catalog.target("agent_fish"), None);
    }

    #[test]
    fn names_that_models_refuse_are_replaced_and_stay_apart() {
        let long = format!("{}_{}", "t".repeat(63), "f".repeat(64));
        let other = format!("{}_{}", "t".repeat(63), "g".repeat(64));
        let catalog = Catalog::new(
            vec![
                function("files_v1.find"),
                function(&long),
                function(&other),
                function("files_v1_find"),
            ],
            vec![],
        );
        assert_eq!(
            catalog.target("files_v1_find"),
            Some(&Target::Function("files_v1_find".to_owned()))
        );
        assert_eq!(
            catalog.target("files_v1_find_2"),
            Some(&Target::Function("files_v1.find".to_owned()))
        );
        assert!(names(&catalog).iter().all(|name| is_plain(name)));
        let reached: Vec<_> = names(&catalog)
            .iter()
            .filter_map(|n| catalog.target(n))
            .collect();
        assert!(
            reached.contains(&&Target::Function(long))
                && reached.contains(&&Target::Function(other))
        );
    }
}
