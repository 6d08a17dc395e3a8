"""The conformance kit behind `bench check METHOD`: does a plugin keep the contract, and do its runs keep the rules?"""
