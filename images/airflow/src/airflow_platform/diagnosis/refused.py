"""The API server does not create the pod: what its refusal means.

The texts are those of the admission plugins (k8s.io/apiserver, pkg/admission/plugin; k8s.io/kubernetes,
plugin/pkg/admission; k8s.io/pod-security-admission, admission/admission.go) and of
k8s.io/apimachinery, pkg/api/errors/errors.go.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial

from airflow_platform.diagnosis.case import Case
from airflow_platform.diagnosis.quantity import Amounts, amounts, parse, phrase
from airflow_platform.diagnosis.quota import Quota, counted
from airflow_platform.diagnosis.verdict import Refusal, Verdict, quoted

#: resourcequota/controller.go, ``checkRequest``; amounts as its ``prettyPrint`` writes them.
_EXCEEDED = re.compile(r"exceeded quota: (\S+), requested: (\S+), used: (\S+), limited: (\S+)")
_FAILED_QUOTA = re.compile(r"failed quota: ([^:\s]+): (must specify .*)")
#: resourcequota/controller.go: its status is not calculated yet, or another pod was counted at the same time.
_QUOTA_UNKNOWN = re.compile(r"status unknown for quota: ([^,\s]+)|cannot be fulfilled on resourcequotas \"([^\"]+)\"")
_NO_QUOTA = re.compile(r"insufficient quota to (?:consume: (.*)|match these scopes: (.*))")
_POD_SECURITY = re.compile(r"violates PodSecurity \"([^\"]+)\": (.*)", re.DOTALL)
#: webhook/errors/statuserror.go; validating/dispatcher.go.
_WEBHOOK_DENIED = re.compile(r"admission webhook \"([^\"]+)\" denied the request(?:: (.*)| without)", re.DOTALL)
_POLICY_DENIED = re.compile(
    r"(?:ValidatingAdmissionPolicy|policy) ['\"]([^'\"]+)['\"](?: with binding '[^']+')? denied request: (.*)",
    re.DOTALL,
)
#: util/webhook/error.go.
_WEBHOOK_FAILED = re.compile(r"failed calling webhook \"([^\"]+)\"[:;] (.*)", re.DOTALL)
_NO_SERVICE_ACCOUNT = re.compile(
    r"error looking up service account [^/\s]+/[^:\s]+: serviceaccount \"([^\"]+)\" not found"
)
_NO_PRIORITY_CLASS = re.compile(r"no PriorityClass with name (\S+) was found")
_NO_RUNTIME_CLASS = re.compile(r"RuntimeClass \"([^\"]+)\" not found")
#: endpoints/handlers/responsewriters/errors.go, ``forbiddenMessage``.
_MAY_NOT = re.compile(r"User \"([^\"]*)\" cannot (\S+) resource \"pods(?:/\S+)?\"")
_NO_NAMESPACE = re.compile(r"namespaces \"([^\"]+)\" not found")
_NAMESPACE_ENDS = re.compile(r"in namespace (\S+) because it is being terminated")
#: limitranger/admission.go.
_LIMIT_RANGE = re.compile(r"((?:minimum|maximum) \S+ usage per \w+ is .*|\S+ max limit to request ratio per \w+ is .*)")
#: apimachinery's ``NewInvalid``: "Pod "x" is invalid: …".
_INVALID = re.compile(r"is invalid: (.*)", re.DOTALL)


def exceeded(message: str) -> tuple[str, Amounts, Amounts, Amounts] | None:
    """Name of the quota that is full, and what of it is requested, used and allowed; None where none is."""
    found = _EXCEEDED.search(message)
    return found and (found[1], *(_listed(found[place]) for place in (2, 3, 4)))


def quota_full(quota: Quota, requested: Amounts) -> Verdict:
    """A quota has no room for now for what a pod needs of it."""
    return Verdict(
        cause="quota-full",
        kind="capacity",
        object_kind="quota",
        object=quota.name,
        retry_helps=True,
        sentence=quota.waited_for(requested),
    )


def diagnose(case: Case, refusal: Refusal) -> Verdict:
    """What is refused, and why; a refusal that no rule knows is told in the API server's words."""
    return next(verdict for rule in _RULES if (verdict := rule(case, refusal)))


def _quota(case: Case, refusal: Refusal) -> Verdict | None:
    found = exceeded(refusal.message)
    if not found:
        return None
    name, requested, used, limited = found
    never = _never_fits(case, name, requested, limited)
    if never:
        resource, wanted, hard, quota = never
        return Verdict(
            cause="quota-too-small",
            kind="user",
            object_kind="quota",
            object=quota,
            final=True,
            retry_helps=False,
            sentence=f"Pod {case.name} asks for {phrase(resource, wanted)}, and quota {quota} of namespace "
            f"{case.namespace} allows {phrase(resource, hard)} in all, so it can never run; ask for less, or have the "
            "quota raised.",
        )
    return quota_full(Quota(name=name, namespace=case.namespace, used=used, hard=limited), requested)


def _never_fits(
    case: Case, name: str, requested: Amounts, limited: Amounts
) -> tuple[str, Decimal, Decimal, str] | None:
    """Resource, amount asked for, amount allowed and name of the first quota that cannot hold the pod even if empty.

    The refusal names what the first quota lacks; the pod and the quotas, where they are known, may tell of another.
    One with scopes is left out: whether it counts this pod cannot be told here.
    """
    for resource, hard in limited.items():
        if requested.get(resource, Decimal(0)) > hard:
            return resource, requested[resource], hard, name
    own = counted(case.pod) if case.spec else {}
    for quota in case.quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        for resource, hard in amounts(spec.get("hard")).items():
            if own.get(resource, Decimal(0)) > hard:
                return resource, own[resource], hard, quota["metadata"]["name"]
    return None


def _listed(text: str) -> Amounts:
    return {name: parse(amount) for name, _, amount in (part.partition("=") for part in text.split(","))}


def _quota_is_late(case: Case, refusal: Refusal) -> Verdict | None:
    found = _QUOTA_UNKNOWN.search(refusal.message)
    return found and Verdict(
        cause="quota-not-ready",
        kind="transient",
        object_kind="quota",
        object=found[1] or found[2],
        retry_helps=True,
        sentence=f"Kubernetes is still counting what quota {found[1] or found[2]} of namespace {case.namespace} has "
        "left; nothing is to be done, the pod is asked for again.",
    )


def _webhook_is_away(case: Case, refusal: Refusal) -> Verdict | None:
    found = _WEBHOOK_FAILED.search(refusal.message)
    return found and Verdict(
        cause="webhook-unreachable",
        kind="platform",
        object_kind="webhook",
        object=found[1],
        retry_helps=True,
        sentence=f"Webhook {found[1]}, which has to allow each pod, does not answer ({quoted(found[2])}); whoever runs "
        "the cluster must bring it back.",
    )


def _default_account_is_late(case: Case, refusal: Refusal) -> Verdict | None:
    """The account "default" of a new namespace comes a moment after it (serviceaccounts_controller.go)."""
    found = _NO_SERVICE_ACCOUNT.search(refusal.message)
    if not found or found[1] != "default":
        return None
    return Verdict(
        cause="service-account-missing",
        kind="transient",
        object_kind="service account",
        object="default",
        retry_helps=True,
        sentence=f"Service account default of namespace {case.namespace} does not exist yet; Kubernetes creates it by "
        "itself a moment after the namespace.",
    )


def _final(cause: str, kind: str, object_kind: str, text: re.Pattern, sentence: str) -> partial:
    """A rule for a refusal that stays: ``sentence`` has places for the text's first two groups and the namespace."""
    return partial(_stays, cause=cause, kind=kind, object_kind=object_kind, text=text, sentence=sentence)


def _stays(
    case: Case, refusal: Refusal, *, cause: str, kind: str, object_kind: str, text: re.Pattern, sentence: str
) -> Verdict | None:
    found = text.search(refusal.message)
    if not found:
        return None
    first, second, *_ = *(quoted(group) for group in found.groups()), "", ""
    of_the_pod = object_kind == "pod"
    return Verdict(
        cause=cause,
        kind=kind,
        object_kind=object_kind,
        object=case.name if of_the_pod else first,
        final=True,
        retry_helps=False,
        sentence=sentence.format(
            first=first, second=second or "it gives no reason", pod=case.name, namespace=case.namespace
        ),
    )


def _by_status(case: Case, refusal: Refusal) -> Verdict | None:
    """The HTTP status alone, where the text says nothing more."""
    said = quoted(refusal.message or refusal.reason) or "no reason given"
    if refusal.status == 401:
        return Verdict(
            cause="platform-not-authenticated",
            kind="platform",
            object_kind="pod",
            object=case.name,
            retry_helps=True,
            sentence=f"The cluster does not know the platform's credentials, so pod {case.name} could not be created "
            f"({said}); whoever runs the platform must check the token or the connection.",
        )
    if refusal.status == 409 and refusal.reason == "AlreadyExists":
        return Verdict(
            cause="pod-exists",
            kind="user",
            object_kind="pod",
            object=case.name,
            final=True,
            retry_helps=None,
            sentence=f"There is a pod {case.name} in namespace {case.namespace} already; give this task's pod another "
            "name, or delete that one.",
        )
    if refusal.status in (408, 409, 425, 429) or refusal.status >= 500 or not refusal.status:
        return Verdict(
            cause="cluster-busy",
            kind="transient",
            object_kind="pod",
            object=case.name,
            retry_helps=True,
            sentence=f"The cluster could not create pod {case.name} now ({refusal.status or 'no answer'}: {said}); it "
            "is asked again.",
        )
    return None


def _in_its_own_words(case: Case, refusal: Refusal) -> Verdict:
    return Verdict(
        cause="refused",
        kind="user" if refusal.status in (400, 413, 422) else "platform",
        object_kind="pod",
        object=case.name,
        final=True,
        retry_helps=None,
        sentence=f"The cluster refuses to create pod {case.name} in namespace {case.namespace} ({refusal.status}): "
        f"{quoted(refusal.message or refusal.reason) or 'it gives no reason'}.",
    )


#: The first that knows the refusal. What passes comes before what stays, the exact text before the HTTP status.
_RULES = (
    _quota,
    _quota_is_late,
    _webhook_is_away,
    _default_account_is_late,
    _final(
        "quota-needs-resources", "user", "quota", _FAILED_QUOTA,
        "Quota {first} of namespace {namespace} counts what each pod asks for, and pod {pod} does not say it "
        "({second}); set these requests and limits on the task.",
    ),
    _final(
        "quota-missing", "platform", "quota", _NO_QUOTA,
        "The cluster admits pod {pod} only under a quota for {first}, and namespace {namespace} has none; whoever runs "
        "the platform must add that quota.",
    ),
    _final(
        "pod-security", "user", "Pod Security level", _POD_SECURITY,
        "Namespace {namespace} allows only pods that keep to Pod Security level {first}, and pod {pod} does not: "
        "{second}; change the security settings of the task.",
    ),
    _final(
        "webhook-denied", "user", "webhook", _WEBHOOK_DENIED,
        "A rule of this cluster (webhook {first}) does not allow pod {pod}: {second}.",
    ),
    _final(
        "policy-denied", "user", "policy", _POLICY_DENIED,
        "A rule of this cluster (policy {first}) does not allow pod {pod}: {second}.",
    ),
    _final(
        "limit-range", "user", "pod", _LIMIT_RANGE,
        "What pod {pod} asks for is outside the limits of namespace {namespace}: {first}; change the requests or "
        "limits of the task.",
    ),
    _final(
        "service-account-missing", "platform", "service account", _NO_SERVICE_ACCOUNT,
        "Service account {first} does not exist in namespace {namespace}; create it, or correct the name.",
    ),
    _final(
        "priority-class-missing", "platform", "priority class", _NO_PRIORITY_CLASS,
        "Priority class {first} does not exist in this cluster; create it, or correct the name.",
    ),
    _final(
        "runtime-class-missing", "platform", "runtime class", _NO_RUNTIME_CLASS,
        "Runtime class {first} does not exist in this cluster; create it, or correct the name.",
    ),
    _final(
        "namespace-missing", "platform", "namespace", _NO_NAMESPACE,
        "Namespace {first} does not exist in this cluster; create it, or correct the name.",
    ),
    _final(
        "namespace-ends", "platform", "namespace", _NAMESPACE_ENDS,
        "Namespace {first} is being deleted and takes no new pods; use another one, or wait and create it again.",
    ),
    _final(
        "platform-not-allowed", "platform", "user", _MAY_NOT,
        "Airflow (user {first}) may not {second} pods in namespace {namespace}; whoever runs the cluster must give it "
        "that right by a role binding.",
    ),
    _final(
        "pod-invalid", "user", "pod", _INVALID,
        "Pod {pod} is not a valid pod: {first}; correct the arguments of the task.",
    ),
    _by_status,
    _in_its_own_words,
)  # fmt: skip
