(** # CPC as a classification problem

The chapter *CPC as a classification problem*. One anchor has its positive and [m - 1] negatives;
[E ys (py xs p) (m - 1)] is the expectation over fresh negatives drawn from p(y). The anchors of a
batch have one expectation each, all alike, so [CPC] and [CPC_indep] follow one anchor. *)
From MLCPC Require Export variational_bounds.
Open Scope R_scope.

(** A critic is positive. *)
Definition critic {X Y} (g : X -> Y -> R) : Prop := forall x y, 0 < g x y.

Section Definitions.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Notation cells := (cells xs ys).

(** `def-cpc`, shared anchor: the negatives of the anchor [x] are letters drawn from p(y). *)
Definition CPC (m : nat) (g : X -> Y -> R) : R :=
  ∑ x ∈ xs, ∑ y ∈ ys, p x y *
    E ys (py xs p) (m - 1) (fun negatives =>
      ln (INR m * g x y / (g x y + ∑ y' ∈ negatives, g x y'))).

(** `def-cpc`, independent: each negative is a fresh pair drawn from p(x) p(y). *)
Definition CPC_indep (m : nat) (g : X -> Y -> R) : R :=
  ∑ x ∈ xs, ∑ y ∈ ys, p x y *
    E cells (Q xs ys p) (m - 1) (fun negatives =>
      ln (INR m * g x y / (g x y + ∑ z ∈ negatives, g (fst z) (snd z)))).

(** `def-cpc`, in-batch: [n] pairs from P, and each meets the letters [y] of all of them. *)
Definition CPC_batch (n : nat) (g : X -> Y -> R) : R :=
  E cells (P p) n (fun batch => / INR n * ∑ i ∈ batch,
    ln (INR n * g (fst i) (snd i) / ∑ k ∈ batch, g (fst i) (snd k))).
End Definitions.

(** ## Step 1: a row of the batch is a game with a shared anchor *)

Section Rows.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation cells := (cells xs ys).

(** Only one side of the other pairs matters: their law is then a marginal. *)
Lemma E_letters_y k (F : list Y -> R) :
  E cells (P p) k (fun t => F (map snd t)) = E ys (py xs p) k F.
Proof.
  revert F; induction k as [|k IH]; intros F; simpl; [reflexivity|].
  unfold mutual_information.cells at 1. rewrite sum_prod, sum_swap.
  apply sum_ext; intros y _. simpl.
  rewrite (sum_ext xs _ (fun x => p x y * E ys (py xs p) k (fun t => F (y :: t)))).
  - rewrite sum_scal_r. reflexivity.
  - intros x _. rewrite <- (IH (fun t => F (y :: t))). reflexivity.
Qed.

Lemma E_letters_x k (F : list X -> R) :
  E cells (P p) k (fun t => F (map fst t)) = E xs (px ys p) k F.
Proof.
  revert F; induction k as [|k IH]; intros F; simpl; [reflexivity|].
  unfold mutual_information.cells at 1. rewrite sum_prod. apply sum_ext; intros x _. simpl.
  rewrite (sum_ext ys _ (fun y => p x y * E xs (px ys p) k (fun t => F (x :: t)))).
  - rewrite sum_scal_r. reflexivity.
  - intros y _. rewrite <- (IH (fun t => F (x :: t))). reflexivity.
Qed.

(** A mean over the rows of a batch is the expectation of one row with fresh letters. *)
Lemma row_of_batch n (g : X -> Y -> R) (G : X -> Y -> R -> R) : (1 <= n)%nat ->
  E cells (P p) n (fun batch => / INR n * ∑ i ∈ batch,
    G (fst i) (snd i) (∑ k ∈ batch, g (fst i) (snd k)))
  = ∑ x ∈ xs, ∑ y ∈ ys, p x y * E ys (py xs p) (n - 1) (fun negatives =>
    G x y (g x y + ∑ y' ∈ negatives, g x y')).
Proof.
  intros Hn. destruct n as [|k]; [lia|]. rewrite E_scal.
  pose proof (E_exch2 cells (P p) (fun i k => g (fst i) (snd k)) k
    (fun i S => G (fst i) (snd i) S) (fun _ => 0)) as Hex. cbv beta in Hex.
  rewrite (E_ext cells (P p) (S k) _ (fun t => ∑ i ∈ t,
    G (fst i) (snd i) (0 + ∑ k ∈ t, g (fst i) (snd k)))).
  2:{ intros t _. apply sum_ext; intros i _. rewrite Rplus_0_l. reflexivity. }
  rewrite Hex, <- Rmult_assoc, Rinv_l, Rmult_1_l by (apply not_0_INR; lia).
  unfold mutual_information.cells at 1. rewrite sum_prod.
  apply sum_ext; intros x _. apply sum_ext; intros y _. unfold P at 1. simpl fst; simpl snd.
  f_equal. replace (S k - 1)%nat with k by lia. rewrite <- E_letters_y.
  apply E_ext; intros t _. rewrite sum_map. f_equal. ring.
Qed.

(** `prp-cpc-rows` *)
Theorem CPC_rows n g : (1 <= n)%nat -> CPC_batch xs ys p n g = CPC xs ys p n g.
Proof.
  intros Hn. unfold CPC_batch, CPC.
  apply (row_of_batch n g (fun x y S => ln (INR n * g x y / S)) Hn).
Qed.
End Rows.

(** ## Steps 2 to 4: the share of one among equals, and the bound *)

(** The mean share of one among [k + 1] letters is exactly [1 / (k + 1)]. *)
Lemma fair_share {A} (l : list A) (w u : A -> R) k :
  sum l w = 1 -> (forall a, 0 < u a) ->
  ∑ a ∈ l, w a * E l w k (fun t => INR (S k) * u a / (u a + sum t u)) = 1.
Proof.
  intros H1 Hu.
  assert (Hex := E_exch l w u k (fun a S => u a / S) 0).
  assert (HN : INR (S k) <> 0) by (apply not_0_INR; lia).
  rewrite (E_ext l w (S k) _ (fun _ => 1)) in Hex.
  - rewrite E_const in Hex by exact H1.
    rewrite (sum_ext l _ (fun a => INR (S k) * (w a * E l w k (fun t => u a / (0 + u a + sum t u))))).
    + rewrite sum_scal. symmetry. exact Hex.
    + intros a _. set (e := E l w k (fun t => u a / (0 + u a + sum t u))).
      replace (INR (S k) * (w a * e)) with (w a * (INR (S k) * e)) by ring. f_equal. unfold e.
      rewrite <- E_scal. apply E_ext; intros t _. cbv beta. rewrite Rplus_0_l. unfold Rdiv. ring.
  - intros t Ht. unfold Rdiv. rewrite sum_scal_r, Rplus_0_l. apply Rinv_r.
    destruct t as [|a t]; [simpl in Ht; lia|]. simpl. pose proof (Hu a).
    assert (0 <= sum t u) by (apply sum_nonneg; intros; left; apply Hu). lra.
Qed.

(** The same through the logarithm, as the variational lemma asks for it. *)
Lemma fair_share_exp {A} (l : list A) (w u : A -> R) k :
  (forall a, 0 <= w a) -> sum l w = 1 -> (forall a, 0 < u a) ->
  ∑ a ∈ l, w a * exp (E l w k (fun t => ln (INR (S k) * u a / (u a + sum t u)))) <= 1.
Proof.
  intros Hw H1 Hu. rewrite <- (fair_share l w u k H1 Hu).
  apply sum_le; intros a _. apply Rmult_le_compat_l; [apply Hw|].
  eapply Rle_trans; [apply E_jensen; assumption|].
  apply E_le; [exact Hw|]. intros t _. right. apply exp_ln.
  assert (0 <= sum t u) by (apply sum_nonneg; intros; left; apply Hu). pose proof (Hu a).
  apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; [apply lt_0_INR; lia|assumption]|lra].
Qed.

Section Bound.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation cells := (cells xs ys).
Notation P := (P p).
Notation Q := (Q xs ys p).

(** From a function of the pair to the table: shared anchors, one [x] at a time. *)
Lemma variational_rows (T : X -> Y -> R) :
  (forall x, ∑ y ∈ ys, py xs p y * exp (T x y) <= 1) ->
  ∑ x ∈ xs, ∑ y ∈ ys, p x y * T x y <= I xs ys p.
Proof.
  intros HT. pose proof (variational_table xs ys p p_table (fun z => T (fst z) (snd z))) as H.
  unfold mutual_information.cells in H. rewrite !sum_prod in H. apply H.
  rewrite <- (px_sum xs ys p p_table). apply sum_le; intros x _. simpl.
  rewrite (sum_ext ys _ (fun y => px ys p x * (py xs p y * exp (T x y))))
    by (intros; unfold mutual_information.Q; simpl; ring).
  rewrite sum_scal. rewrite <- (Rmult_1_r (px ys p x)) at 2.
  apply Rmult_le_compat_l; [apply (px_nonneg xs ys p p_table)|apply HT].
Qed.

(** `thm-cpc`, the three designs. *)
Theorem CPC_bound m g : (1 <= m)%nat -> critic g -> CPC xs ys p m g <= I xs ys p.
Proof.
  intros Hm Hg. destruct m as [|k]; [lia|]. unfold CPC.
  apply (variational_rows (fun x y => E ys (py xs p) (S k - 1) (fun t =>
    ln (INR (S k) * g x y / (g x y + ∑ y' ∈ t, g x y'))))).
  intros x. replace (S k - 1)%nat with k by lia. apply fair_share_exp.
  - apply (py_nonneg xs ys p p_table).
  - apply (py_sum xs ys p p_table).
  - apply Hg.
Qed.

Theorem CPC_indep_bound m g : (1 <= m)%nat -> critic g -> CPC_indep xs ys p m g <= I xs ys p.
Proof.
  intros Hm Hg. destruct m as [|k]; [lia|]. unfold CPC_indep. replace (S k - 1)%nat with k by lia.
  pose proof (variational_table xs ys p p_table (fun z => E cells Q k (fun t =>
    ln (INR (S k) * g (fst z) (snd z) / (g (fst z) (snd z) + ∑ z' ∈ t, g (fst z') (snd z')))))) as H.
  unfold mutual_information.cells at 3 in H. rewrite (sum_prod xs ys (fun z => P z * _)) in H.
  apply H. apply (fair_share_exp cells Q (fun z => g (fst z) (snd z))).
  - apply (Q_nonneg xs ys p p_table).
  - apply (Q_sum xs ys p p_table).
  - intros z; apply Hg.
Qed.

Theorem CPC_batch_bound n g : (1 <= n)%nat -> critic g -> CPC_batch xs ys p n g <= I xs ys p.
Proof. intros Hn Hg. rewrite CPC_rows by assumption. apply CPC_bound; assumption. Qed.

(** ## The ceiling *)

(** `prp-cpc-cap`: one term, on every draw with at least one negative. *)
Lemma CPC_term_cap m u s : (1 <= m)%nat -> 0 < u -> 0 < s -> ln (INR m * u / (u + s)) < ln (INR m).
Proof.
  intros Hm Hu Hs. assert (0 < INR m) by (apply lt_0_INR; lia). apply ln_increasing.
  - apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; assumption|lra].
  - apply Rmult_lt_reg_r with (u + s); [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. nra.
Qed.

(** `prp-cpc-cap` *)
Theorem CPC_cap m g : (1 <= m)%nat -> critic g -> CPC xs ys p m g <= ln (INR m).
Proof.
  intros Hm Hg. unfold CPC.
  apply Rle_trans with (∑ x ∈ xs, ∑ y ∈ ys, p x y * ln (INR m)).
  - apply sum_le; intros x _. apply sum_le; intros y _.
    apply Rmult_le_compat_l; [apply p_table|].
    rewrite <- (E_const ys (py xs p) (py_sum xs ys p p_table) (m - 1) (ln (INR m))).
    apply E_le; [apply (py_nonneg xs ys p p_table)|]. intros t _.
    assert (Hs : 0 <= ∑ y' ∈ t, g x y') by (apply sum_nonneg; intros; left; apply Hg).
    destruct Hs as [Hs|Hs].
    + left. apply CPC_term_cap; [exact Hm|apply Hg|exact Hs].
    + right. f_equal. rewrite <- Hs. pose proof (Hg x y). field. lra.
  - rewrite (sum_ext xs _ (fun x => (∑ y ∈ ys, p x y) * ln (INR m)))
      by (intros; apply sum_scal_r).
    rewrite sum_scal_r, (proj2 p_table). lra.
Qed.

(** ## What does not matter *)

(** `prp-cpc-invariance`: an offset of the score that depends on the anchor. *)
Theorem CPC_invariance m g c :
  CPC xs ys p m (fun x y => exp (c x) * g x y) = CPC xs ys p m g.
Proof.
  unfold CPC. apply sum_ext; intros x _. apply sum_ext; intros y _. f_equal.
  apply E_ext; intros t _. f_equal. rewrite sum_scal.
  change (∑ y' ∈ t, g x y') with (sum t (g x)). rewrite <- Rmult_plus_distr_l.
  set (S := g x y + sum t (g x)). pose proof (exp_pos (c x)). unfold Rdiv. rewrite Rinv_mult.
  transitivity (exp (c x) * / exp (c x) * (INR m * g x y * / S));
    [ring|rewrite Rinv_r by lra; ring].
Qed.
End Bound.

(** ## Known values *)

(** A constant critic cannot tell the candidates apart: it scores zero. *)
Lemma CPC_const {X Y} (xs : list X) (ys : list Y) p m c : table xs ys p -> (1 <= m)%nat -> 0 < c ->
  CPC xs ys p m (fun _ _ => c) = 0.
Proof.
  intros Hp Hm Hc. unfold CPC.
  rewrite (sum_ext xs _ (fun x => 0)); [apply sum_0|]. intros x _.
  rewrite (sum_ext ys _ (fun y => 0)); [apply sum_0|]. intros y _.
  rewrite (E_ext _ _ _ _ (fun _ => 0)).
  - rewrite E_const by (apply (py_sum xs ys p Hp)). ring.
  - intros t Ht. rewrite sum_const, Ht. rewrite minus_INR by exact Hm. simpl.
    replace (INR m * c / (c + (INR m - 1) * c)) with 1; [apply ln_1|].
    field. assert (INR m <> 0) by (apply not_0_INR; lia).
    replace (c + (INR m - 1) * c) with (INR m * c) by ring. apply Rmult_integral_contrapositive. lra.
Qed.

(** Two candidates, the fair bit, and a critic that weighs a match [g] times as much: the draw
repeats the positive or shows the other letter, each with probability one half. *)
Lemma CPC_copy g : 0 < g ->
  CPC bit bit copy 2 (fun x y => if Bool.eqb x y then g else 1) = / 2 * ln (2 * g / (g + 1)).
Proof.
  intros Hg. unfold CPC, py, copy; simpl.
  replace ((1 + 1) * g / (g + (g + 0))) with 1 by (field; lra).
  replace ((1 + 1) * g / (g + (1 + 0))) with (2 * g / (g + 1)) by (field; lra).
  rewrite ln_1. field. 
Qed.

(** ## False twins *)

(** No number below [ln m] caps CPC: with two candidates and the copied bit, even [ln 2 / 2] is
approached, so a cap of [ln m / 3] is exceeded at [g = 15]. *)
Theorem CPC_cap_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p m g, table xs ys p ->
  (1 <= m)%nat -> critic g -> CPC xs ys p m g <= / 3 * ln (INR m).
Proof.
  intros HF. specialize (HF _ _ bit bit copy 2%nat (fun x y => if Bool.eqb x y then 15 else 1)
    copy_table ltac:(lia) ltac:(intros [|] [|]; simpl; lra)).
  rewrite CPC_copy in HF by lra. replace (2 * 15 / (15 + 1)) with (15/8) in HF by field.
  simpl (INR 2) in HF. replace (1 + 1) with 2 in HF by ring.
  assert (H2 : 2 * ln 2 < 3 * ln (15/8)); [|lra].
  replace (2 * ln 2) with (ln 2 + ln 2) by ring.
  replace (3 * ln (15/8)) with (ln (15/8) + ln (15/8) + ln (15/8)) by ring.
  rewrite <- !ln_mult by lra. apply ln_increasing; lra.
Qed.
