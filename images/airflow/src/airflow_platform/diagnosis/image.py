"""The image of a container cannot be had: kubelet's reason, and the words of containerd and of the registry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_platform.diagnosis.case import Case, Json, first_seen, last_seen
from airflow_platform.diagnosis.verdict import Kind, Verdict, quoted

#: Kubelet's reasons (pkg/kubelet/images/types.go; k8s.io/cri-api, pkg/errors).
_PULL = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"}
_INVALID, _NEVER, _INSPECT = "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"

#: pkg/kubelet/kubelet_pods.go, ``getPullSecretsForPod``.
_NO_PULL_SECRET = re.compile(r"Unable to retrieve some image pull secrets \(([^)]*)\)")
#: Seconds after which a pull that goes on is worth a word.
_SLOW = 60
#: Seconds for which kubelet leaves an image alone after the first failure, then twice as long each time, up to the
#: second (pkg/kubelet/kubelet.go, ``imageBackOffPeriod``, ``MaxImageBackOff``).
_BACK_OFF, _LONGEST = 10, 300
#: Seconds that it may be late by: it looks at such a pod from time to time (``backOffPeriod``, with jitter), and then
#: asks a registry that may be slow.
_LATE = 20


@dataclass(frozen=True)
class _Pull:
    """What a pull's message means. ``lasting``: final once it has been seen for 30 s."""

    text: re.Pattern
    cause: str
    kind: Kind
    retry_helps: bool | None
    sentence: str
    lasting: bool = False
    certain: bool = True


def _pull(text: str, cause: str, kind: Kind, retry_helps: bool | None, sentence: str, **more: bool) -> _Pull:
    return _Pull(re.compile(text, re.IGNORECASE), cause, kind, retry_helps, sentence, **more)


#: The first whose text is there; the order matters, as containerd ends many messages with "not found". Its texts:
#: core/remotes/docker (resolver.go, authorizer.go), core/remotes/errors, core/images/image.go; the rest: HTTP's, Go's.
_PULLS = (
    _pull(
        r"no match for platform", "wrong-architecture", "user", False,
        "Image {image} is not built for the processor of node {node}; build and push it for that platform.",
        lasting=True,
    ),
    _pull(
        # pkg/kubelet/images/helpers.go
        r"pull QPS exceeded", "node-pulls-too-much", "transient", True,
        "Node {node} pulls many images at once, and image {image} waits for its turn; nothing is to be done.",
    ),
    _pull(
        r"429 Too Many Requests|toomanyrequests|rate limit|quota exceeded", "registry-limits-pulls", "transient", True,
        "Registry {registry} limits how often images are pulled{code}, so image {image} has to wait; Kubernetes tries "
        "again{when}.",
    ),
    _pull(
        r"SignatureValidationFailed|signature validation failed", "image-signature-invalid", "user", False,
        "Image {image} is not signed as the cluster demands it; sign it, or use one that is.", lasting=True,
    ),
    _pull(
        r"no space left on device", "node-disk-full", "infrastructure", True,
        "Node {node} has no disk space left for image {image}; whoever runs the cluster must make room.",
    ),
    _pull(
        r"x509: |server gave HTTP response to HTTPS client", "registry-not-trusted", "platform", False,
        "Node {node} does not trust the connection to registry {registry}, so image {image} cannot be pulled ({said}); "
        "whoever runs the cluster must set up the registry's certificate on its nodes.",
    ),
    _pull(
        r"pull access denied|: 40[13] |401 Unauthorized|403 Forbidden|insufficient_scope|authorization failed"
        r"|no basic auth credentials",
        "image-denied", "user", False,
        "Registry {registry} does not give image {image} to the cluster: it does not exist, or the credentials for it "
        "are missing or wrong{secret}; check the name and the pull secret.",
        lasting=True,
    ),
    _pull(
        r"\b50[0234] (?:Internal|Bad|Service|Gateway)|RegistryUnavailable|registry is unavailable", "registry-fails",
        "transient", True,
        "Registry {registry} fails at the moment, so image {image} has to wait ({said}); Kubernetes tries again{when}.",
    ),
    _pull(
        r"no such host|server misbehaving|i/o timeout|connection refused|connection reset|TLS handshake timeout"
        r"|context deadline exceeded|network is unreachable|no route to host|unexpected EOF|: EOF|Client\.Timeout",
        "registry-unreachable", "transient", True,
        "Node {node} cannot reach registry {registry} for image {image} ({said}); Kubernetes tries again{when}, check "
        "the registry's name and the network if it goes on.",
    ),
    _pull(
        r"is no longer supported since containerd", "image-too-old", "user", False,
        "Image {image} has a format that is no longer supported; build and push it with a current tool.", lasting=True,
    ),
    _pull(
        # A part of the image is missing, not its name: core/remotes/docker/fetcher.go.
        r"could not fetch content descriptor", "image-incomplete", "user", None,
        "Image {image} is in registry {registry}, but a part of it is missing there; push it again.", lasting=True,
    ),
    _pull(
        # What else is not found is no image: a token, a host to ask, a part of the image on the node.
        r"failed to resolve (?:reference|image)\b(?!.*(?:failed to authorize|no resolve hosts)).*: not found"
        r"|manifest unknown|name unknown",
        "image-not-found", "user", False,
        "Image {image} does not exist in registry {registry}; push it, or correct its name or tag.", lasting=True,
    ),
    _pull(
        r"", "image-pull-failed", "transient", None,
        "Image {image} cannot be pulled from registry {registry} ({said}); Kubernetes tries again{when}.",
        certain=False,
    ),
)  # fmt: skip


def unavailable(case: Case) -> Verdict | None:
    """The image of the first container that waits for one."""
    for status in case.statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        message = waiting.get("message") or ""
        image = case.container(status["name"]).get("image") or status.get("image") or "of the task"
        if reason in _PULL:
            return _not_pulled(case, status["name"], image, f"{reason}: {message}")
        if reason in (_INVALID, _NEVER, _INSPECT):
            return _not_asked_for(case, status["name"], image, reason, message)
    return None


def slow(case: Case) -> Verdict | None:
    """A pull that goes on for long: the event that begins it has no successor."""
    last = next(
        (one for one in reversed(case.own_events) if one.get("reason") in ("Pulling", "Pulled", "Failed", "BackOff")),
        None,
    )
    since = first_seen(last) if last else None
    found = re.search(r"Pulling image \"([^\"]+)\"", (last or {}).get("message") or "")
    if case.phase != "Pending" or not found or since is None or case.now - since < _SLOW:
        return None
    return Verdict(
        cause="image-pull-slow",
        kind="transient",
        object_kind="image",
        object=found[1],
        retry_helps=None,
        since=since,
        sentence=f"Image {found[1]} has been on its way to node {case.node_name} for {case.now - since:.0f} s; a large "
        "image takes long the first time.",
    )


def _not_pulled(case: Case, container: str, image: str, text: str) -> Verdict:
    failed = list(case.said("Failed", text=f'Failed to pull image "{image}"'))
    # While kubelet waits for its next try, an older one says only that it waits.
    if text == f'ImagePullBackOff: Back-off pulling image "{image}"' and failed:
        text = failed[-1].get("message") or text
    pull = _meaning(text)
    alike = [at for one in failed if _meaning(one.get("message") or "") is pull and (at := first_seen(one)) is not None]
    since = min(alike, default=case.starts_since)
    unread = [_NO_PULL_SECRET.search(one.get("message") or "") for one in case.said("FailedToRetrieveImagePullSecret")]
    secret = next((found[1] for found in unread if found), None)
    sentence = pull.sentence.format(
        image=image,
        registry=_registry(image),
        node=case.node_name or "of the pod",
        said=quoted(text.rpartition(": ")[2] if pull.certain else text),
        secret=f" (secret {secret} could not be read)" if secret else "",
        code=" (it answers 429)" if "429 Too Many Requests" in text else "",
        when=_when(case, failed),
    )
    return Verdict(
        cause=pull.cause,
        kind=pull.kind,
        object_kind="image",
        object=image,
        container=container,
        final=pull.lasting and case.stops(since),
        retry_helps=pull.retry_helps,
        since=since,
        certain=pull.certain,
        sentence=sentence,
    )


def _when(case: Case, failed: Sequence[Json]) -> str:
    """When kubelet pulls next, by the events of the pulls that failed; empty where these do not tell.

    They do not where some are missing: kubelet sends about 25 of a pod and then few
    (k8s.io/client-go, tools/record/events_cache.go, ``defaultSpamBurst``).
    """
    times = [at for one in failed for at in (first_seen(one), last_seen(one)) if at is not None]
    count = sum(one.get("count") or 1 for one in failed)
    if not times:
        return ""
    pauses = [min(_BACK_OFF * 2**number, _LONGEST) for number in range(min(count, 20))]
    *before, next_one = pauses
    left = max(times) + next_one - case.now
    # Times of events are whole seconds.
    all_known = sum(before) - 1 <= max(times) - min(times) <= sum(before) + _LATE * len(before)
    if not all_known or left <= -_LATE:
        return ""
    return f" in about {max(round(left, -1), 10):.0f} s"


def _meaning(text: str) -> _Pull:
    return next(pull for pull in _PULLS if pull.text.search(text))


def _not_asked_for(case: Case, container: str, image: str, reason: str, message: str) -> Verdict:
    """No registry was asked."""
    since = case.starts_since
    if reason == _INVALID:
        cause, kind, final, retry = "image-name-invalid", "user", not case.base_runs, False
        sentence = f'Image name "{image}" is not valid; correct it.'
    elif reason == _NEVER:
        cause, kind, final, retry = "image-not-on-node", "user", case.stops(since), False
        sentence = (
            f"Image {image} is not on node {case.node_name}, and the task's image_pull_policy Never forbids to pull "
            "it; change that policy."
        )
    else:
        cause, kind, final, retry = "image-unreadable", "infrastructure", False, True
        sentence = (
            f"Node {case.node_name} cannot tell whether it has image {image} ({quoted(message)}); it tries again."
        )
    return Verdict(
        cause=cause,
        kind=kind,
        object_kind="image",
        object=image,
        container=container,
        final=final,
        retry_helps=retry,
        since=since,
        sentence=sentence,
    )


def _registry(image: str) -> str:
    """The host that an image's name leads to (https://github.com/distribution/reference, ``splitDockerDomain``)."""
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else "docker.io"
