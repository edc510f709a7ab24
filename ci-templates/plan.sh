#!/bin/sh
# plan.sh: what action.yml executes. Inputs come by the environment; see there.
set -u
mizzen=${MIZZEN:-$RUNNER_TEMP/mizzen}
base=${INPUT_BASE:-${PULL_BASE:-}}
case $base in
'')
	echo "::error::There is no base to compare with: run this for pull requests, or set the input base"
	exit 2
	;;
-*)
	echo "::error::The base must not begin with a dash"
	exit 2
	;;
esac
set -- plan --base "$base"
comment=
if [ "${INPUT_COMMENT:-}" = true ] && [ -n "${PULL_HEAD_REPOSITORY:-}" ]; then
	if [ "$PULL_HEAD_REPOSITORY" = "$GITHUB_REPOSITORY" ]; then
		comment=--comment
	else
		echo "::notice::A pull request from a fork gets no comment, since its token may only read; the plan is in the summary of the job"
	fi
fi
# The summary of the job, which is there for forks, too. What fails here fails
# below again, with its message.
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
	"$mizzen" "$@" --fail-on none -o markdown >>"$GITHUB_STEP_SUMMARY" 2>/dev/null || :
fi
exec "$mizzen" "$@" --fail-on "${INPUT_FAIL_ON:-deny}" $comment -o github
