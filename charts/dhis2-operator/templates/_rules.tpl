{{/*
What the operator may do to instances and their parts. A comment names the module that needs the rule.
No wildcard, no pods/exec, no listing or watching of Secrets, no custom resource definitions, no roles.
*/}}
{{- define "dhis2-operator.rules" -}}
# operator/watch: the instances themselves
- apiGroups: [dhis2.hosting]
  resources: [dhis2instances]
  verbs: [get, list, watch]
# operator/reconcile: how an instance is
- apiGroups: [dhis2.hosting]
  resources: [dhis2instances/status]
  verbs: [get, update, patch]
# operator/apply: owner references that block the owner's deletion, where the cluster checks them
- apiGroups: [dhis2.hosting]
  resources: [dhis2instances/finalizers]
  verbs: [update]
# operator/secrets: makes passwords and asks for the metadata of those made. RBAC can't grant metadata alone: get lets it read a Secret
# whose name it knows. It can't find names: it neither lists nor watches.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get, patch]
# operator/apply, operator/watch: volumes; never deleted by the operator
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# operator/apply, operator/watch: configuration and addresses
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
# operator/apply, operator/watch: the servers
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# operator/apply, operator/watch: steps that run once, and backups
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, delete]
# operator/apply, operator/watch: the door, and who may connect
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# operator/watch: reports of agents, state of servers; operator/restart: restarts, one pod at a time
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
# operator/events: what happened to an instance
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
