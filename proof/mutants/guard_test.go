package mutants

// mutant is a mistake: old, which stands in the file once, becomes new. The test of that name notices.
type mutant struct {
	name, file, old, new, test string
}

var guardMutants = []mutant{
	{
		"runs although nobody has granted the key", "begin.go",
		"if err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif until.IsZero()",
		"if err != nil {\n\t\t\ta.start(ctx, new(driver.Record), time.Now())\n\t\t\treturn nil\n\t\t}\n\t\tif until.IsZero()",
		"TestAStoreThatRefusesRunsNothing",
	},
	{
		"fails open unasked", "begin.go",
		"if a.policy.FailOpen && down", "if down",
		"TestAStoreThatRefusesRunsNothing",
	},
	{
		"fails open where a record cannot be read", "begin.go",
		"!errors.Is(err, driver.ErrUndecodable) &&", "",
		"TestARecordThatCannotBeReadIsNeverAReasonToRun",
	},
	{
		"runs for a caller who has left", "begin.go",
		"grant.Verdict == driver.Acquired && ctx.Err() == nil", "grant.Verdict == driver.Acquired",
		"TestNothingRunsForACallerWhoLeftMeanwhile",
	},
	{
		"asks again as another owner", "begin.go",
		"failpoint.At(failpoint.BeforeAcquire)", "_, _ = rand.Read(claim.Owner[:])",
		"TestAWinnerWhoseReplyWasLostWinsAgain",
	},
	{
		"forgets to release what it may have acquired", "begin.go",
		"if unknown {", "if unknown && err == nil {",
		"TestAnUnknownBeginIsReleased",
	},
	{
		"releases what it may have acquired once, and hopes", "begin.go",
		"err := insist(ctx, ", "err := func(ctx context.Context, send func(context.Context) error) error { return send(ctx) }(ctx, ",
		"TestTheReleaseOfAnUnknownBeginGoesOnUntilItLands",
	},
	{
		"lets those who wait have the answer to another request", "begin.go",
		"if !claim.Matches(grant.Record.Fingerprint) {", "if false {",
		"TestWaitersOfAnotherRequestLearnNothingOfItsDoubt",
	},
	{
		"answers before it stores", "ending.go",
		"err := a.store(&a.values, &out)", "go func() { _ = a.store(&a.values, &out) }()\n\terr := error(nil)",
		"TestAnUnknownCompleteIsBroughtHome",
	},
	{
		"asks the breaker before an outcome is stored", "ending.go",
		"call := a.guard.call(ctx, \"complete\")",
		"if err := a.guard.breaker.allow(); err != nil {\n\t\treturn err\n\t}\n\tcall := a.guard.call(ctx, \"complete\")",
		"TestTheBreakerNeverStandsBeforeAnEnd",
	},
	{
		"forgets an outcome that is not stored", "ending.go",
		"a.finish(insist(ctx, send), done) })", "a.stop() })",
		"TestAnUnknownCompleteIsBroughtHome",
	},
	{
		"releases when it is not known whether the outcome is stored", "ending.go",
		"a.finish(insist(ctx, send), done) })", "a.finish(a.guard.release(ctx, a.id, a.owner, a.note(\"\")), done) })",
		"TestAnUnknownCompleteIsBroughtHome",
	},
	{
		"answers although it was overtaken", "ending.go",
		"return a.overtaken()", "return nil",
		"TestALostOwnerNeverAnswersWithItsOwn",
	},
	{
		"answers when somebody else may have taken over", "ending.go",
		"case err != nil && a.leaseOver():", "case false:",
		"TestAnOwnerWhoseLeaseIsOverDoesNotAnswer",
	},
	{
		"lets a sign of life undo a doubt", "ending.go",
		"a.beats.Wait()", "",
		"TestASignOfLifeUnderWayDoesNotUndoADoubt",
	},
	{
		"gives up under hold because the store is silent", "heartbeat.go",
		"return a.policy.OnCrash == Rerun && elapsed", "return elapsed",
		"TestUnderHoldASilentStoreCancelsNothing",
	},
	{
		"goes on under rerun after its lease", "heartbeat.go",
		"return a.policy.Lease - a.policy.Lease/10", "return 2 * a.policy.Lease",
		"TestUnderRerunTheOwnerStopsBeforeItsLeaseIsOver",
	},
	{
		"keeps the key of a handler that ran too long", "heartbeat.go",
		"err := a.giveUp(&a.values, reason)", "err := error(nil)",
		"TestAHandlerThatHangsIsInDoubtAfterMaxExecution",
	},
	{
		"does not wait for what is not stored", "backlog.go",
		"if owed == 0 {", "if owed >= 0 {",
		"TestCloseWaitsForWhatIsNotStored",
	},
	{
		"takes a full store for one that is down", "call.go",
		"case err == nil, errors.Is(err, driver.ErrFull),", "case err == nil,",
		"TestAFullStoreDoesNotOpenTheBreaker",
	},
	{
		"releases on a panic under hold", "do.go",
		"if a.policy.OnCrash == Hold {", "if false {",
		"TestPanicsAreStoredOrReleasedAndGoOn",
	},
	{
		"stores a context's error as the outcome", "do.go",
		"case !said && (errors", "case false && (errors",
		"TestAContextErrorIsInDoubt",
	},
}
