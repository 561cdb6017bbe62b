{{- define "connectors.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* 55: names that are made of it have endings, and 63 letters at the most */}}
{{- define "connectors.fullname" -}}
{{- $name := include "connectors.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "connectors.selector" -}}
app.kubernetes.io/name: {{ include "connectors.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "connectors.labels" -}}
{{ include "connectors.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "connectors.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "connectors.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* "yes" where only one server may have the store. What a secret holds cannot be seen. */}}
{{- define "connectors.storeIsOwn" -}}
{{- if not .Values.store.urlSecret.name }}
{{- if regexMatch "^(memory|sqlite):" .Values.store.url }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "connectors.servers" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}

{{- /* What does not go together is refused here: Helm's schema sees one value at a time. */}}
{{- define "connectors.check" -}}
{{- if and (include "connectors.storeIsOwn" .) (gt (int (include "connectors.servers" .)) 1) }}
{{- fail (printf "store.url is %s, which one server alone can use: for more than one, or autoscaling, give it redis:// or postgresql://" .Values.store.url) }}
{{- end }}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) }}
{{- fail "autoscaling.maxReplicas is less than autoscaling.minReplicas" }}
{{- end }}
{{- range list "config" "store" "host" "port" "metrics_host" "metrics_port" "paused_file" "tls_certificate" "tls_key" "tls_client_ca" }}
{{- if hasKey $.Values.settings . }}
{{- fail (printf "settings.%s is given by the chart itself: there are the values store, paused and tls" .) }}
{{- end }}
{{- end }}
{{- if and .Values.tls.clientCa (not .Values.tls.secretName) }}
{{- fail "tls.clientCa needs tls.secretName" }}
{{- end }}
{{- $least := int (include "connectors.stopsWithin" .) }}
{{- $given := .Values.terminationGracePeriodSeconds }}
{{- if and (not (kindIs "invalid" $given)) (lt (int $given) $least) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: the server needs %d to end without losing a call" (int $given) $least) }}
{{- end }}
{{- end }}

{{- /* Seconds from the pod's deletion to the end of its process. In a pod the server drains for 5 s and has 25 s of grace, unless it is told otherwise;
       then it closes within 5 s. */}}
{{- define "connectors.stopsWithin" -}}
{{- $settings := .Values.settings }}
{{- $drain := ternary $settings.drain_delay 5 (hasKey $settings "drain_delay") }}
{{- $grace := ternary $settings.grace 25 (hasKey $settings "grace") }}
{{- ceil (addf .Values.preStopSeconds $drain $grace 5) }}
{{- end }}

{{- /* The settings that go into connectors.toml. */}}
{{- define "connectors.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.kubernetesSecrets }}
{{- $namespaces := list }}
{{- range .Values.kubernetesSecrets }}{{ $namespaces = append $namespaces .namespace }}{{ end }}
{{- $settings = merge $settings (dict
      "secret_sources" (list "request" "environment" "files" "kubernetes")
      "secret_namespaces" (uniq $namespaces)) }}
{{- end }}
{{- toToml $settings }}
{{- end }}
