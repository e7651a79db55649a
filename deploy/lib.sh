# What the deploy scripts share: rendering an overlay for one version, migrating,
# and waiting. It is sourced, never run.
# shellcheck shell=bash

# Everything is done in one namespace, with one kubectl.
NAMESPACE=${NAMESPACE:-holdfast}
KUBECTL=${KUBECTL:-kubectl}
PREFIX=${PREFIX:-holdfast/}
TIMEOUT=${TIMEOUT:-180s}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

k() { "$KUBECTL" --namespace "$NAMESPACE" "$@"; }

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

fail() {
	say "FAILED: $*"
	exit 1
}

# A script that acts on the wrong cluster, or on none, should say so first.
"$KUBECTL" version >/dev/null 2>&1 || fail "no cluster answers: set kubectl's context to one that does"

# render OVERLAY TAG prints the overlay's objects with the images of TAG. An
# overlay is a name under deploy/overlays or a directory. The migration Jobs are
# named after the tag: a Job cannot be changed, and each release has its own.
render() {
	local overlay=$1 tag=$2 dir image
	[[ -d $overlay ]] || overlay=$ROOT/deploy/overlays/$overlay
	[[ -f $overlay/kustomization.yaml ]] || { say "there is no overlay $1"; return 1; }
	mkdir -p "$ROOT/.build"
	# Inside the checkout, because kustomize takes relative paths only; what an
	# interrupt leaves there goes with `make clean`.
	dir=$(mktemp -d "$ROOT/.build/render.XXXXXX")
	{
		echo "namespace: $NAMESPACE"
		echo "resources: [$(realpath --relative-to "$dir" "$overlay")]"
		echo "transformers: [../../deploy/base/migrations/naming]"
		echo "images:"
		for image in orders payments llm-gateway sandbox; do
			printf -- '- {name: holdfast/%s, newName: %s%s, newTag: "%s"}\n' "$image" "$PREFIX" "$image" "$tag"
		done
	} >"$dir/kustomization.yaml"
	"$KUBECTL" kustomize "$dir" || { rm -rf "$dir"; return 1; }
	rm -rf "$dir"
}

# only KIND… passes on the objects of those kinds, except KIND… all others.
only() { select_kinds 1 "$@"; }
except() { select_kinds 0 "$@"; }

select_kinds() {
	local wanted=$1
	shift
	awk -v kinds=" $* " -v wanted="$wanted" '
		function flush() { if (text != "" && (index(kinds, " " kind " ") > 0) == wanted) printf "---\n%s", text; text = kind = "" }
		/^---$/ { flush(); next }
		/^kind: / { kind = $2 }
		{ text = text $0 "\n" }
		END { flush() }'
}

# names KIND prints the names of the objects of that kind.
names() {
	only "$1" | awk '/^metadata:/ { in_metadata = 1; next } /^[^ ]/ { in_metadata = 0 } in_metadata && /^  name: / { print $2 }'
}

# named KIND/NAME passes on the one object of that kind and name.
named() {
	awk -v kind="${1%%/*}" -v name="${1#*/}" '
		function flush() { if (tolower(k) == kind && n == name) printf "---\n%s", text; text = k = n = "" }
		/^---$/ { flush(); next }
		/^kind: / { k = $2 }
		/^metadata:/ { in_metadata = 1 }
		/^[^ ]/ && !/^metadata:/ { in_metadata = 0 }
		in_metadata && /^  name: / { n = $2 }
		{ text = text $0 "\n" }
		END { flush() }'
}

# set_up KIND/NAME applies the object that it reads, unless it is there already or
# there is nothing to read, and waits for it.
set_up() {
	local object
	object=$(cat)
	[[ -n $object ]] || return 0
	if [[ -z $(k get "$1" --ignore-not-found -o name) ]]; then
		printf '%s\n' "$object" | k apply -f - >&2
	fi
	k rollout status "$1" --timeout "$TIMEOUT" >&2
}

# migrate FILE runs the migration Jobs in a file of objects and waits for them.
# A schema is only ever expanded, so what serves goes on serving.
migrate() {
	local objects=$1 job
	for job in $(names Job <"$objects"); do
		# A Job that failed is in the way of the one that tries again.
		if [[ $(condition "$job" Failed) == True ]]; then
			k delete job "$job" --wait >/dev/null
		fi
	done
	only Job <"$objects" | k apply -f - >&2
	for job in $(names Job <"$objects"); do
		await_job "$job" || {
			k logs "job/$job" --tail=20 >&2 || true # its pod may be gone; the failure is told all the same
			return 1
		}
	done
}

# condition JOB TYPE prints whether the Job has it; nothing if there is no such Job.
condition() { k get job "$1" --ignore-not-found -o "jsonpath={.status.conditions[?(@.type==\"$2\")].status}"; }

await_job() {
	local job=$1 end=$((SECONDS + ${TIMEOUT%s}))
	while ((SECONDS < end)); do
		[[ $(condition "$job" Complete) == True ]] && { say "$job is complete"; return 0; }
		[[ $(condition "$job" Failed) == True ]] && { say "$job has failed"; return 1; }
		sleep 1
	done
	say "$job did not end within $TIMEOUT"
	return 1
}

# revision DEPLOYMENT prints the revision that is rolled out; nothing if there is
# no such Deployment yet.
revision() { k get deployment "$1" --ignore-not-found -o 'jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'; }
