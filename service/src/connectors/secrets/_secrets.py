"""A call's secrets: checked, looked up, remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectors.errors import FailedPrecondition, InvalidRequest, PermissionDenied
from connectors.secrets._redaction import SURELY_SECRET, remember
from connectors.secrets._rules import SecretRules, SecretScope, check_name, name_and_key
from connectors.secrets._sources import Asked, RequestSecrets, Secret, SecretSource

__all__ = ["Secrets"]

_NOWHERE = SecretScope()
_PLACE = "project"  # what a reference begins with that names a place in the operator's table
_LookedIn = list[tuple[SecretSource, Asked]]


class Secrets:
    """The secrets that one call may ask for.

    Every method takes the secret's ``name``, the ``key`` of the entry that is wanted where the secret may have several
    (Kubernetes' do), and the ``reference`` under which the same secret was found before, "" at first. A connector
    keeps :attr:`Secret.reference` in its meta and passes it back: get and delete carry neither the namespace nor the
    project of the workflow. A reference is caller's input when it comes back, and is checked: it leads to no secret
    that the connector could not have been given.

    ``await ctx.secrets.look_up("databricks-token", key="token", reference=job.secret)``
    """

    def __init__(
        self, sources: Sequence[SecretSource], *, rules: SecretRules | None = None, scope: SecretScope | None = None
    ) -> None:
        """:param sources: asked in this order; the first that has the secret wins. :param rules: which secrets may be
        asked for; by default any. :param scope: whose call it is.
        """
        self._sources = tuple(sources)
        self._rules = rules or SecretRules()
        self._scope = scope or _NOWHERE
        self._given: list[str] = []

    async def get(self, name: str, *, key: str = "", reference: str = "") -> str:
        """The value of a secret.

        :raises FailedPrecondition: no source has it, and the message tells where it was looked for; or as :meth:`find`.
        :raises PermissionDenied: the connector may not ask for this name, or follow this reference. No source was
            asked.
        :raises InvalidRequest: the name or the key is none that a secret can have (letters, digits, ``_``, ``.``,
            ``-``; no path), or the reference is none.
        :raises Unavailable: a source does not answer now.
        """
        return (await self.look_up(name, key=key, reference=reference)).value

    async def find(self, name: str, *, key: str = "", reference: str = "") -> str | None:
        """The value of a secret, or None where no source has it.

        :raises FailedPrecondition: a source has it and cannot give it, or the reference's source or place is none any
            more. :raises PermissionDenied, InvalidRequest, Unavailable: as :meth:`get`.
        """
        found, _ = await self._find(name, key, reference)
        return None if found is None else found.value

    async def look_up(self, name: str, *, key: str = "", reference: str = "") -> Secret:
        """A secret with the reference under which it is found again.

        :raises FailedPrecondition, PermissionDenied, InvalidRequest, Unavailable: as :meth:`get`.
        """
        found, looked_in = await self._find(name, key, reference)
        if found is None:
            places = ", ".join(source.where(item) for source, item in looked_in)
            raise FailedPrecondition(f"the secret {name!r} was not found in {places or 'any source'}")
        return found

    async def _find(self, name: str, key: str, reference: str) -> tuple[Secret | None, _LookedIn]:
        """The secret, and where it was looked for."""
        check_name(name)
        if key:
            check_name(key)
        self._rules.check(name)
        kind, _, where = reference.partition(":")
        if not reference or kind == _PLACE:
            place = where if reference else self._rules.place_for(name, self._scope)
            found, looked_in = await self._in_order(name, key, place)
        else:
            found, looked_in = await self._referred(name, key, reference)
        if found is not None:
            remember(found.value)
            self._given.append(found.value)
        return found, looked_in

    async def _in_order(self, name: str, key: str, place: str) -> tuple[Secret | None, _LookedIn]:
        asked = self._asked(name, key, self._scope.namespace)
        elsewhere = asked
        if place:
            instead = self._rules.instead(name, place)
            if instead is None:
                raise FailedPrecondition(f"the settings have no secret {name!r} for {place[:80]!r}, any more")
            other, entry = name_and_key(instead)
            elsewhere = self._asked(other, entry or key, self._scope.namespace, in_the_table=True)
        looked_in: _LookedIn = []
        for source in self._sources:
            by_caller = isinstance(source, RequestSecrets)  # who knows the name that the task uses, and no other
            item = asked if by_caller else elsewhere
            found = await source.find(item)
            if found is not None:
                if place and not by_caller and not found.reference:
                    found = replace(found, reference=f"{_PLACE}:{place}")
                return found, looked_in
            looked_in.append((source, item))
        return None, looked_in

    async def _referred(self, name: str, key: str, reference: str) -> tuple[Secret | None, _LookedIn]:
        """What ``kind:namespace/name/key`` leads to."""
        kind, _, path = reference.partition(":")
        parts = path.split("/")
        if len(parts) != 3 or not all(parts[:2]):
            raise InvalidRequest(f"{reference[:200]!r} is no reference of a secret")
        namespace, other, entry = parts
        pairs = [(name, key)]
        for instead in self._rules.all_instead(name):
            own, its_entry = name_and_key(instead)
            pairs.append((own, its_entry or key))
        if (other, entry) not in pairs:
            raise PermissionDenied(f"the reference {reference[:200]!r} does not lead to the secret {name!r}")
        # the kind is the caller's word, and may be the environment's: the name is looked for there as ever
        in_the_table = (other, entry) != pairs[0]
        asked = replace(self._asked(other, entry, namespace, in_the_table=in_the_table), by_reference=True)
        for source in self._sources:
            if source.kind == kind:
                return await source.find(asked), [(source, asked)]
        raise FailedPrecondition(f"the secret {name!r} was found in {kind[:80]!r}, which is no source of secrets here")

    def _asked(self, name: str, key: str, namespace: str, *, in_the_table: bool = False) -> Asked:
        """:param in_the_table: the operator named it, for a project, in place of the name that was asked for."""
        return Asked(
            name,
            key,
            namespace,
            is_declared=in_the_table or self._rules.is_declared,
            by_wildcard=not in_the_table and self._rules.by_wildcard(name),
            reserved=self._rules.reserved(name),
        )

    def leaks(self, text: str) -> bool:
        """Whether ``text`` holds a value that this call was given, of 16 characters or more (a shorter one may be an
        ordinary word).
        """
        return any(len(value) >= SURELY_SECRET and value in text for value in self._given)

    def __repr__(self) -> str:
        return "Secrets(…)"
