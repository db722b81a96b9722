//! Which Secrets hosts may read: follows the plans for each tenant.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use ringfence_api::{TenantName, chain};

use super::Operator;
use crate::error::Error;
use crate::index::{Change, SecretAccess};
use crate::secret_access::{NAME, Todo, plan};

pub(super) async fn run(operator: Operator) {
    loop {
        let tenant = operator.secrets.next().await;
        match reconcile(&operator, &tenant).await {
            Ok(()) => operator.secrets.done(&tenant),
            Err(error) => {
                tracing::warn!(%tenant, error = %chain(&error), "access to Secrets is tried again");
                operator.secrets.failed(&tenant);
            }
        }
    }
}

/// Lets hosts read what the admitted resources of a tenant refer to, and nothing else.
pub(super) async fn reconcile(operator: &Operator, tenant: &TenantName) -> Result<(), Error> {
    let (view, is_there) = {
        let index = operator.index.lock();
        (index.secrets(tenant), index.has_tenant(tenant))
    };
    if !is_there {
        // It went with its namespace.
        return Ok(());
    }
    let plan = plan(
        &view.secrets,
        view.role.as_deref(),
        view.binding.as_deref(),
        &operator.namespace,
    );
    let writer = &operator.writer;
    let roles = writer.namespaced::<Role>(tenant.as_str());
    let bindings = writer.namespaced::<RoleBinding>(tenant.as_str());
    // What is taken away ends with its binding, what is given begins with it.
    let access = |access| operator.learn(Change::SecretAccess(tenant.clone(), access));
    if matches!(plan.binding, Todo::Delete | Todo::Replace(_)) {
        let uid = view.binding.as_ref().and_then(|it| it.metadata.uid.clone());
        writer.remove(&bindings, "RoleBinding", NAME, uid).await?;
        access(SecretAccess::Binding(None));
    }
    match &plan.role {
        Todo::Nothing => {}
        Todo::Apply(role) | Todo::Replace(role) => {
            let seen = view.role.as_deref().map(|it| &it.metadata);
            let role = writer.apply(&roles, "Role", role.clone(), seen).await?;
            access(SecretAccess::Role(Some(Arc::new(role))));
        }
        Todo::Delete => {
            let uid = view.role.as_ref().and_then(|it| it.metadata.uid.clone());
            writer.remove(&roles, "Role", NAME, uid).await?;
            access(SecretAccess::Role(None));
        }
    }
    if let Todo::Apply(binding) | Todo::Replace(binding) = &plan.binding {
        // What is replaced is not there any more.
        let there = view.binding.as_deref();
        let there = there.filter(|_| matches!(plan.binding, Todo::Apply(_)));
        let seen = there.map(|it| &it.metadata);
        let binding = writer
            .apply(&bindings, "RoleBinding", binding.clone(), seen)
            .await?;
        access(SecretAccess::Binding(Some(Arc::new(binding))));
    }
    Ok(())
}
