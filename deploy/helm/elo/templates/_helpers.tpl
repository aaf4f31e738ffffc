{{- define "elo.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "elo.labels" -}}
app.kubernetes.io/name: elo
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* The labels of one part, by which services, policies and budgets find it. Call with (dict "root" $ "role" "worker"). */}}
{{- define "elo.selector" -}}
app.kubernetes.io/name: elo
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* A name in Kafka as Kubernetes allows it. */}}
{{- define "elo.resourceName" -}}
{{- . | lower | replace "_" "-" | trunc 253 | trimSuffix "." | trimSuffix "-" -}}
{{- end -}}

{{- define "elo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "elo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "elo.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* A new pod when what it reads at its start changes. */}}
{{- define "elo.checksum" -}}
checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
{{- end -}}

{{/* The environment of every process of a role: where its settings, its login and its secrets are. */}}
{{- define "elo.env" -}}
- name: ELO_CONFIG
  value: /etc/elo/config/elo.yaml
- name: ELO_PROFILE_KEY_FILE
  value: /etc/elo/profile-key/value
{{- if hasPrefix "SASL" .root.Values.kafka.securityProtocol }}
- name: ELO_KAFKA_SASL_USERNAME
  value: {{ include "elo.name" .root }}-{{ .role }}
- name: ELO_KAFKA_SASL_PASSWORD_FILE
  value: /etc/elo/login/password
{{- end }}
{{- range $name, $from := .root.Values.secretSettings }}
- name: ELO_{{ upper $name }}
  valueFrom: {secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}}
{{- end }}
{{- range $name, $value := .root.Values.otel }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "elo.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: /etc/elo/config, readOnly: true}
- {name: profile-key, mountPath: /etc/elo/profile-key, readOnly: true}
{{- if hasPrefix "SASL" .root.Values.kafka.securityProtocol }}
- {name: login, mountPath: /etc/elo/login, readOnly: true}
{{- end }}
{{- if and .root.Values.kafka.caSecret.name (hasSuffix "SSL" .root.Values.kafka.securityProtocol) }}
- {name: ca, mountPath: /etc/elo/ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "elo.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
- name: config
  configMap: {name: {{ include "elo.name" .root }}-config}
- name: profile-key
  secret:
    secretName: {{ required "profileKey.secret: name a secret with the profile key, see docs/deployment.md" .root.Values.profileKey.secret }}
    items: [{key: {{ .root.Values.profileKey.key }}, path: value}]
{{- if hasPrefix "SASL" .root.Values.kafka.securityProtocol }}
- name: login
  secret:
    secretName: {{ include "elo.name" .root }}-{{ .role }}
    items: [{key: {{ .root.Values.kafka.passwordKey }}, path: password}]
{{- end }}
{{- if and .root.Values.kafka.caSecret.name (hasSuffix "SSL" .root.Values.kafka.securityProtocol) }}
- name: ca
  secret:
    secretName: {{ .root.Values.kafka.caSecret.name }}
    items: [{key: {{ .root.Values.kafka.caSecret.key }}, path: ca.crt}]
{{- end }}
{{- end -}}
