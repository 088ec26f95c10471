"""The verb ``provision``: each sub-verb opens the factory's folder, does one thing, and says what there is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from boot.refusal import Refused as ElementRefused
from boot.scope import Scope
from console import factory_options, failures, provision_page
from console.as_json import head
from console.failures import Refused
from console.output import Output
from evidence import command as called
from faults.words import counted
from world.factory import ledger, manufacture, overview, signing
from world.factory import maker as makers
from world.factory.keys import KeyFiles, write_pair
from world.factory.ledger import Token
from world.factory.maker import Maker


def _tell(output: Output, verb: str, sentence: str, found: dict[str, Any]) -> int:
    output.show_whole(sentence)
    output.verdict(sentence)
    output.write_json(head(f"provision {verb}", failures.HELD) | found)
    return failures.HELD


def root(output: Output, given: Mapping[str, Any]) -> int:
    """The root ceremony."""
    if bool(given["token"]) != bool(given["token_label"]):
        raise Refused(
            "a token is named by both --token MODULE and --token-label LABEL; give both, or neither"
        )
    token = Token(os.path.abspath(given["token"]), given["token_label"]) if given["token"] else None
    with factory_options.at_work(output, given, creates=True) as maker:
        held = makers.hold_root_ceremony(maker, given["maker"], token)
    assert held.root is not None
    digest = overview.root_key_sha256(held)
    where = f"in the token {token.label}" if token else f"in {given['folder'] / ledger.KEYS}"
    sentence = (
        f"{held.maker} has a root (until {held.root.parsed.not_valid_after_utc:%Y-%m-%d}), a platform authority, and "
        f"signers of releases and of debug unlocks; the keys of authorities are {where}\n"
        f"the fuses of its devices will hold {digest}"
    )
    return _tell(output, "root", sentence, {"maker": held.maker, "root_key_sha256": digest})


def factory(output: Output, given: Mapping[str, Any]) -> int:
    """A name space."""
    with factory_options.at_work(output, given) as maker:
        found = makers.open_factory(maker, given["name"], given["years"])
        organization = maker.ledger.maker
    sentence = (
        f"{given['name']} is open until {found.parsed.not_valid_after_utc:%Y-%m-%d}, and names devices below "
        f"O={organization}, OU={given['name']}"
    )
    return _tell(
        output, "factory", sentence, {"name": given["name"], "valid_until": _until(found.certificate)}
    )


def supplier(output: Output, given: Mapping[str, Any]) -> int:
    """A subcontractor, by its public key."""
    name = given["name"]
    scope = Scope(
        ("partition",), tuple(dict.fromkeys(given["partitions"])), tuple(dict.fromkeys(given["classes"]))
    )
    with factory_options.at_work(output, given) as maker:
        platform = maker.ledger.platform
        validity = (
            maker.until(given["until"], platform) if given["until"] else maker.years(given["years"], platform)
        )
        makers.checked_name(maker, name)
        makers.checked_scope(name, scope)
        if given["public_key"] is not None:
            public, where = makers.key_in_file(given["public_key"]), "at its side"
        else:
            side = given["folder"] / ledger.SUPPLIERS / name
            public = KeyFiles(side).provide_signing_key(signing.SIGNING)
            where = f"in {side}, which stands for its side"
        row = makers.enrol_subcontractor(maker, name, public, scope, validity)
    classes = " and ".join(sorted(scope.safety_classes))
    sentence = (
        f"{name} may sign {', '.join(scope.partitions)} of class {classes} until {validity.end:%Y-%m-%d}; its key is "
        f"{where}"
    )
    return _tell(
        output,
        "supplier",
        sentence,
        {"name": name, "valid_until": _until(row.chain[0]), "chain": list(row.chain)},
    )


def key(output: Output, given: Mapping[str, Any]) -> int:
    """A pair of files at a subcontractor's."""
    path: Path = given["file"]
    text = write_pair(path)
    sentence = f"{path} is the private key, for nobody else; hand {path}.pub to the maker"
    return _tell(output, "key", sentence, {"public_key": text})


def devices(output: Output, given: Mapping[str, Any]) -> int:
    """N devices."""
    with factory_options.at_work(output, given) as maker:
        manufacture.factory_named(maker, given["factory"])
        serials = manufacture.serials_of(maker, given["count"], given["serial"])
        with Progress(
            console=output.console, disable=output.is_quiet or not output.console.is_terminal
        ) as bar:
            task = bar.add_task("making devices", total=len(serials))
            manufacture.manufacture(
                maker, given["factory"], serials, given["life"], lambda _: bar.advance(task)
            )
        place = given["folder"] / ledger.DEVICES
    through = f"{serials[0]} to {serials[-1]}" if len(serials) > 1 else serials[0]
    are = "are" if len(serials) > 1 else "is"
    sign = f"{called.command()} sign --device {serials[0]}"
    sentence = f"{through} {are} {given['life']}, in {place}; sign a release into their flash: {sign}"
    return _tell(output, "devices", sentence, {"serials": serials, "life": given["life"]})


def life(output: Output, given: Mapping[str, Any]) -> int:
    """One step for each device."""
    with factory_options.at_work(output, given) as maker:
        for serial in given["serials"]:
            maker.folder.device(serial)
        for serial in given["serials"]:
            manufacture.advance(maker.folder, serial, given["to"])
    sentence = f"{', '.join(given['serials'])}: {given['to']}"
    if given["to"] == "decommissioned":
        sentence += "; the secret is wiped, and the certificate counts until it is revoked"
    return _tell(output, "life", sentence, {"serials": list(given["serials"]), "life": given["to"]})


def operator(output: Output, given: Mapping[str, Any]) -> int:
    """Who uses devices."""
    with factory_options.at_work(output, given) as maker:
        found = makers.enrol_operator(maker, given["name"], given["years"])
    sentence = f"{given['name']} has a root of its own until {found.parsed.not_valid_after_utc:%Y-%m-%d}"
    return _tell(
        output, "operator", sentence, {"name": given["name"], "valid_until": _until(found.certificate)}
    )


def enrol(output: Output, given: Mapping[str, Any]) -> int:
    """LDevIDs."""
    with factory_options.at_work(output, given) as maker:
        for serial in given["serials"]:
            maker.folder.device(serial)
        for serial in given["serials"]:
            manufacture.enrol(maker, serial, given["operator"], given["years"])
    sentence = f"{', '.join(given['serials'])}: enrolled by {given['operator']}"
    return _tell(
        output, "enrol", sentence, {"serials": list(given["serials"]), "operator": given["operator"]}
    )


def renew(output: Output, given: Mapping[str, Any]) -> int:
    """Another identity."""
    serial = given["serial"]
    with factory_options.at_work(output, given) as maker:
        manufacture.renew(maker, serial, given["factory"], new_element=given["new_element"])
        factory_name = maker.ledger.devices[serial].factory
    what = "a new element, provisioned, with floors of its own" if given["new_element"] else "a new IDevID"
    sentence = f"{serial} has {what}, named by {factory_name}; the old IDevID is revoked"
    found = {"serial": serial, "factory": factory_name, "new_element": given["new_element"]}
    return _tell(output, "renew", sentence, found)


def revoke(output: Output, given: Mapping[str, Any]) -> int:
    """A new list."""
    with factory_options.at_work(output, given) as maker:
        issuer, number = makers.revoke(maker, given["name"])
    sentence = (
        f"{given['name']} is revoked by list {number} of {issuer}, in {given['folder'] / ledger.LISTS}; devices know "
        f"it once it is in their flash: {called.command()} provision lists"
    )
    return _tell(output, "revoke", sentence, {"name": given["name"], "issuer": issuer, "list_number": number})


def lists(output: Output, given: Mapping[str, Any]) -> int:
    """The latest lists into flash."""
    with factory_options.at_work(output, given) as maker:
        held = maker.ledger
        serials = list(given["serials"]) or sorted(held.devices)
        places = [maker.folder.device(serial) for serial in serials]
        for place in places:
            makers.write_trust(held, place / manufacture.FLASH_FOLDER)
        assert held.root is not None
        assert held.platform is not None
        numbers = {"root": held.root.list_number, "platform": held.platform.list_number}
    said = ", ".join(f"{name} {number}" for name, number in numbers.items())
    sentence = f"{', '.join(serials) or 'no device'}: the latest revocation lists are in flash ({said})"
    return _tell(output, "lists", sentence, {"serials": serials, "list_numbers": numbers})


def unlock(output: Output, given: Mapping[str, Any]) -> int:
    """One boot of an element."""
    with factory_options.at_work(output, given) as maker:
        envelope, state = _unlocked(maker, given)
    sentence = (
        f"{given['serial']} was unlocked for one boot, until the power went or {given['minutes']} minutes were over"
        + (f"; slot {given['restore']} has all its attempts again" if given["restore"] else "")
    )
    output.show(provision_page.cells(state))
    found = {
        "serial": given["serial"],
        "unlock": envelope.payload,
        "cells": provision_page.cells_as_json(state),
    }
    return _tell(output, "unlock", sentence, found)


def _unlocked(maker: Maker, given: Mapping[str, Any]) -> Any:
    try:
        return manufacture.unlock(maker, given["serial"], given["minutes"], given["restore"])
    except ElementRefused as refused:
        raise Refused(f"{given['serial']}: {refused}") from None


def show(output: Output, given: Mapping[str, Any]) -> int:
    """Everything, as a page."""
    with factory_options.at_work(output, given) as maker:
        held, now = maker.ledger, maker.now
        people = overview.people_of(held)
        made = overview.devices_of(maker.folder)
    output.show(provision_page.page(held, people, made, now))
    sentence = f"{held.maker}: {len(people)} who issue or sign, {counted(len(made), 'device')}"
    output.verdict(sentence)
    found = {
        "maker": held.maker,
        "root_key_sha256": overview.root_key_sha256(held),
        "token": held.token.label if held.token else None,
        "people": [one.as_json() for one in people],
        "devices": [one.as_json() for one in made],
    }
    output.write_json(head("provision show", failures.HELD) | found)
    return failures.HELD


def _until(certificate: bytes) -> str:
    return overview.until_of(certificate)
