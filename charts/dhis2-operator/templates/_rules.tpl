{{/*
What the operator may do to instances and their parts. A comment names the module that needs the rule.
No wildcard, no pods/exec, no listing or watching of Secrets, no custom resource definitions, no roles.
*/}}
{{- define "dhis2-operator.rules" -}}
# operator/controller, operator/watch: the instances themselves, and requests to restore them, back them up and test that
- apiGroups: [dhis2.hosting]
  resources: [dhis2instances, dhis2restores, dhis2backups, dhis2restoretests]
  verbs: [list, watch]
# operator/reconcile: how an instance is
- apiGroups: [dhis2.hosting]
  resources: [dhis2instances/status]
  verbs: [update]
# operator/tell: how far a request is
- apiGroups: [dhis2.hosting]
  resources: [dhis2restores/status, dhis2backups/status, dhis2restoretests/status]
  verbs: [patch]
# operator/tell: objects for the sets of a repository, which go with them; and the finalizer of those whose set goes first
- apiGroups: [dhis2.hosting]
  resources: [dhis2backups]
  verbs: [create, patch, delete]
# operator/secrets: makes passwords; asks for the metadata of those made, and of those that a resource names. RBAC can't grant metadata
# alone: get lets it read a Secret whose name it knows. It can't find names: it neither lists nor watches.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get, patch]
# operator/watch, operator/apply: configuration and addresses; they go with the instance or stay, the operator deletes none
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch]
# operator/watch, operator/apply: volumes; operator/reconcile deletes those of a restore that failed, and those that a restore replaced,
# once a later backup is proven
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# operator/watch, operator/apply: the servers
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# operator/watch, operator/apply: backups; copies that are asked for no more go
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch, delete]
# operator/watch, operator/apply: steps that run once, and go when they are done
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# operator/watch, operator/apply: the door
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch]
# operator/watch, operator/apply: who may connect, for instances that have not switched it off
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# operator/watch: reports of agents, state of servers; operator/restart: restarts, one pod at a time
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# operator/events: what happened to an instance
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
